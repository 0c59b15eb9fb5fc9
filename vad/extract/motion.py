"""Where does something move? Three answers without weights: optical flow, frame differences, background subtraction."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from vad.cache import Content
from vad.errors import ConfigError

FLOW_SIZE = (512, 384)  # width, height of the frames that flow is computed on, and the unit of its vectors
WIDEST = 320  # of the frames that a background is made of

PRESETS = {
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
}


@dataclass(frozen=True)
class Motion(Content, ABC):
    """Settings of a motion mask, and of the boxes that are cut out of it."""

    @abstractmethod
    def masks(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Stream frames uint8 RGB (h, w, 3) of one clip to masks bool (h, w), in order, with bounded memory."""


@dataclass(frozen=True)
class OpticalFlow(Motion):
    """Dense flow to the next frame; something moves where its squared length exceeds `threshold`.

    Flow is computed on frames resized to 512 x 384 and resized back to the frame, vectors not rescaled, so that the
    threshold keeps its meaning (LBR_SPR's public code). The last frame has the flow of the pair before it.
    Our choice: OpenCV's DIS in place of FlowNet2.

    Args:
        threshold: On the squared length, in pixels of a 512 x 384 frame.
        preset: Of DIS. Faster ones mark more of an image as moving: on Ped2 boxes then cover 13.2 % (`fast`) and 19.9 %
            (`ultrafast`) of it, against 12.0 %.
        flownet2_compat: Zero flow for the first frame of a clip, a quirk of the published pipeline. Our choice: off,
            the first frame has its flow to the second as every other.
    """

    threshold: float = 1.0
    preset: Literal["medium", "fast", "ultrafast"] = "medium"
    flownet2_compat: bool = False

    def masks(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for _, flow in self.fields(frames):
            yield np.square(flow).sum(2) > self.threshold

    def fields(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Stream frames to (frame, flow float32 (h, w, 2)): x, y in pixels of a 512 x 384 frame."""
        dis = cv2.DISOpticalFlow.create(PRESETS[self.preset])
        frame: np.ndarray | None = None
        small: np.ndarray | None = None
        flow: np.ndarray | None = None
        for index, following in enumerate(frames):
            next_small = cv2.resize(_grey(following), FLOW_SIZE, interpolation=cv2.INTER_LINEAR)
            if frame is not None and small is not None:
                height, width = frame.shape[:2]
                vectors = dis.calc(small, next_small, None)  # type: ignore[call-overload]  # None: no flow to begin with
                flow = cv2.resize(vectors, (width, height), interpolation=cv2.INTER_LINEAR)
                yield frame, np.zeros_like(flow) if self.flownet2_compat and index == 1 else flow
            frame, small = following, next_small
        if frame is not None:
            yield frame, np.zeros((*frame.shape[:2], 2), np.float32) if flow is None else flow


@dataclass(frozen=True)
class FrameDifference(Motion):
    """Something moves where a frame differs from its neighbours: the motion cue of VEC (Yu et al., ACM MM 2020).

    Absolute differences of blurred frames t-1, t and t, t+1 are summed; a pixel counts where any colour exceeds the
    threshold. At clip ends the frame stands for its missing neighbour. Our choice: the sum saturates, where the public
    code lets it wrap at 256.

    Args:
        threshold: In grey levels; VEC takes 18 (Ped2, Avenue) and 15 (ShanghaiTech).
        blur: Odd side of the Gaussian kernel; VEC takes 3 (Ped2) and 5.
    """

    threshold: int = 18
    blur: int = 3

    def __post_init__(self) -> None:
        _odd("blur", self.blur)

    def masks(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        blurred: np.ndarray | None = None
        before: np.ndarray | None = None
        for following in frames:
            next_blurred = cv2.GaussianBlur(following, (self.blur, self.blur), 0)
            if blurred is not None:
                after = cv2.absdiff(blurred, next_blurred)
                yield self._moves(after if before is None else cv2.add(before, after))
                before = after
            blurred = next_blurred
        if blurred is not None:
            yield self._moves(np.zeros_like(blurred) if before is None else before)

    def _moves(self, difference: np.ndarray) -> np.ndarray:
        return np.asarray((difference > self.threshold).any(2))


@dataclass(frozen=True)
class BackgroundSubtraction(Motion):
    """Something is there where a frame differs from the median of frames around it: for static cameras.

    Finds what stands still for less than half of the window, and finds slow things whole where flow finds edges. Frames
    wider than `WIDEST` are made smaller first, and their masks larger again: a window of one and a half holds some
    100 MB then, whatever the footage.

    Args:
        threshold: In grey levels, on the largest difference of the three colours.
        window: Frames over which the median is taken, 12 seconds at 25 frames a second; a clip is cut into windows of
            this length (a rest shorter than half joins the one before): it follows a changing scene.
        samples: Frames of a window that the median sees, evenly spaced.
        smooth: Odd side of the median filter over the (smaller) mask, against camera noise.
        close: Side of the square that gaps in it are closed with, so that a person is one region.
    """

    threshold: int = 24
    window: int = 300
    samples: int = 48
    smooth: int = 5
    close: int = 5

    def __post_init__(self) -> None:
        if min(self.window - 1, self.samples, self.close) < 1:
            raise ConfigError(
                "window, samples, close: expected at least 2 frames, 1 frame and 1 pixel, "
                f"got {self.window}, {self.samples} and {self.close}"
            )
        _odd("smooth", self.smooth)

    def masks(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        sizes: deque[tuple[int, int]] = deque()  # width and height of the frames that a window holds
        for window in _windows(_smaller(frames, sizes), self.window):
            chosen = np.linspace(0, len(window) - 1, min(self.samples, len(window))).round().astype(int)
            background = np.median(np.stack([window[i] for i in chosen]), axis=0).round().astype(np.uint8)
            square = np.ones((self.close, self.close), np.uint8)
            for frame in window:
                mask = (cv2.absdiff(frame, background).max(2) > self.threshold).astype(np.uint8)
                mask = cv2.morphologyEx(cv2.medianBlur(mask, self.smooth), cv2.MORPH_CLOSE, square)
                yield cv2.resize(mask, sizes.popleft(), interpolation=cv2.INTER_NEAREST).astype(bool)


def motion_boxes(
    mask: np.ndarray, blanked: np.ndarray, *, min_area: float, grow: int = 2, max_aspect: float = 10.0
) -> np.ndarray:
    """Boxes float32 (n, 4) around what moves outside the boxes `blanked` (k, 4), in `mask` bool (h, w).

    Blanked boxes are grown by `grow` pixels on each side. Of each external contour left the bounding rectangle of w x h
    pixels stays if (w + 1)(h + 1) > `min_area` and neither side is `max_aspect` times the other; it is grown by `grow`
    and clipped to the image. Source: LBR_SPR's public code.
    """
    height, width = mask.shape
    left = mask.astype(np.uint8)
    for x1, y1, x2, y2 in np.ceil(blanked).astype(int):
        left[max(y1 - grow, 0) : max(y2 + grow, 0), max(x1 - grow, 0) : max(x2 + grow, 0)] = 0
    contours = cv2.findContours(left, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    boxes = [
        (max(x - grow, 0), max(y - grow, 0), min(x + w + grow, width), min(y + h + grow, height))
        for x, y, w, h in map(cv2.boundingRect, contours)
        if (w + 1) * (h + 1) > min_area and w < max_aspect * h and h < max_aspect * w
    ]
    boxes.sort(key=lambda box: (box[1], box[0]))  # the order of contours is OpenCV's own
    return np.array(boxes, np.float32).reshape(-1, 4)


def _grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _odd(name: str, side: int) -> None:
    if side < 1 or side % 2 == 0:
        raise ConfigError(f"{name}: expected an odd number of pixels, got {side}")


def _smaller(frames: Iterable[np.ndarray], sizes: deque[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Frames at most `WIDEST` wide; their sizes before go into `sizes`."""
    for frame in frames:
        height, width = frame.shape[:2]
        sizes.append((width, height))
        if width > WIDEST:
            frame = cv2.resize(frame, (WIDEST, max(1, round(height * WIDEST / width))), interpolation=cv2.INTER_AREA)
        yield frame


def _windows(frames: Iterable[np.ndarray], length: int) -> Iterator[list[np.ndarray]]:
    """Frames in lists of `length`; a rest shorter than half of it joins the list before."""
    held: list[np.ndarray] = []
    for frame in frames:
        held.append(frame)
        if len(held) == length + length // 2:
            yield held[:length]
            held = held[length:]
    if held:
        yield held
