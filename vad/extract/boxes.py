"""Pure geometry of boxes, xyxy, end exclusive; arrays in, indices out."""

import numpy as np


def area(box: np.ndarray) -> np.ndarray:
    """(w + 1)(h + 1) of boxes (n, 4), the convention of the public configurations."""
    return (box[:, 2] - box[:, 0] + 1) * (box[:, 3] - box[:, 1] + 1)


def clip(box: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes (n, 4) cut to the image."""
    return np.clip(box, 0, np.array([width, height, width, height], box.dtype))


def intersection(a: np.ndarray, b: np.ndarray, *, border: float = 0.0) -> np.ndarray:
    """Areas (n, m) that boxes (n, 4) and (m, 4) share; `border` is added to each width and height."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(high - low + border, 0, None).prod(2)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4); 0 for empty boxes."""
    shared = intersection(a, b)
    size_a, size_b = (np.clip(box[:, 2:] - box[:, :2], 0, None).prod(1) for box in (a, b))
    union = size_a[:, None] + size_b[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(box: np.ndarray, confidence: np.ndarray, kind: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression within each class: indices that stay, the most confident first.

    A box goes when a more confident one of its class, itself not gone, overlaps it with an IoU above `threshold`.
    Equal confidences keep their order.
    """
    order = np.argsort(-confidence, kind="stable")
    box, kind = box[order].astype(np.float64), kind[order]
    shared = intersection(box, box)
    size = (box[:, 2:] - box[:, :2]).prod(1)
    union = size[:, None] + size[None] - shared
    rivals = np.triu((shared > threshold * union) & (kind[:, None] == kind[None]), 1)
    stays = np.ones(len(box), bool)
    for index in np.flatnonzero(rivals.any(1)):  # only boxes that could suppress another
        if stays[index]:
            stays &= ~rivals[index]
    return order[stays]


def cover_filter(box: np.ndarray, threshold: float) -> np.ndarray:
    """Indices, ascending, of boxes of which no larger one covers more than `threshold`.

    Not IoU: a small box mostly inside a bigger one goes, whatever the bigger one's size; of boxes of equal area the
    later counts as larger. Areas and intersections with the +1 convention. Source: LBR_SPR's public code.
    """
    box = box.astype(np.float64)
    size = area(box)
    rank = np.empty(len(box), int)
    rank[np.argsort(size, kind="stable")] = np.arange(len(box))
    covered = (intersection(box, box, border=1.0) > threshold * size[:, None]) & (rank[None] > rank[:, None])
    return np.flatnonzero(~covered.any(1))
