"""Frames of one video, decoded once and in order."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

import numpy as np

from vad.errors import VideoError
from vad.types import Video
from vad.video import VideoReader


def whole(reader: VideoReader, video: Video) -> Iterator[np.ndarray]:
    """Every frame once; fewer or more than the reader promised is a `VideoError`."""
    count = -1
    for count, frame in enumerate(reader):
        if count == len(reader):
            break
        yield frame
    if count + 1 != len(reader):
        found = f"gives {count + 1}" if count + 1 < len(reader) else "goes on"
        raise VideoError(str(video.path or video.id), f"promised {len(reader)} frames, and a decode {found}")


def clips(frames: Iterable[np.ndarray], length: int, cuts: Sequence[int]) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """The clips between cuts, as (first frame, its frames); each is to be read to its end before the next."""
    stream = iter(frames)
    borders = [0, *sorted({c for c in cuts if 0 < c < length}), length]
    for start, stop in pairwise(borders):
        yield start, islice(stream, stop - start)
