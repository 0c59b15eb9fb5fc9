"""Pixel-level AUROC: an abnormal frame is found when at least 40 % of its abnormal pixels are (Mahadevan et al., 2010).

No sweep over thresholds: each frame has one number, the highest threshold at which it is still found (or alarmed), and
the metric is the AUROC of these numbers. The score map of a frame is painted from its boxes, the highest score wins,
and the background has the score minus infinity.
"""

import math

import numpy as np

SHARE = 0.4


def found_at(mask: np.ndarray, box: np.ndarray, score: np.ndarray, *, share: float = SHARE) -> float:
    """The highest threshold at which `share` of the mask's pixels are covered by boxes; -inf if they never are.

    Takes mask bool (h, w), not empty, boxes (k, 4), half open, and their scores (k,). A box covers every pixel that it
    touches. Boxes are taken from the highest score down, until enough pixels are covered: no map is painted.
    """
    needed = math.ceil(share * int(mask.sum()) - 1e-12)
    open_ = mask.copy()
    covered = 0
    corners = np.concatenate([np.floor(box[:, :2]), np.ceil(box[:, 2:])], axis=1).astype(np.int64).clip(min=0)
    for row in np.argsort(-score, kind="stable"):
        x1, y1, x2, y2 = corners[row]
        region = open_[y1:y2, x1:x2]
        covered += int(region.sum())
        region[...] = False
        if covered >= needed:
            return float(score[row])
    return -math.inf
