"""What passes between the parts of the suite: frozen dataclasses, each array documented with dtype and shape.

Boxes are xyxy in pixels of the video, end exclusive. Frames are counted from 0. Intervals are half open.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from vad.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "weak_train", "test"]
Protocol = Literal["one_class", "unsupervised_partial", "unsupervised_merge", "weak", "pretext"]


class ProtocolSplits(NamedTuple):
    """Which splits a protocol learns from, and which it scores."""

    fit: tuple[Split, ...]
    score: tuple[Split, ...]


PROTOCOLS: Mapping[Protocol, ProtocolSplits] = {
    "one_class": ProtocolSplits(fit=("train",), score=("test",)),
    "unsupervised_partial": ProtocolSplits(fit=("test",), score=("test",)),
    "unsupervised_merge": ProtocolSplits(fit=("train", "test"), score=("train", "test")),
    "weak": ProtocolSplits(fit=("weak_train",), score=("test",)),
    "pretext": ProtocolSplits(fit=("train", "weak_train"), score=()),
}


@dataclass(frozen=True)
class Video:
    """One video of a benchmark; what is not known without its file is `None`."""

    id: str  # unique in its data set; may hold '#', '=', '.', '/': never split it, never make it a file name unescaped
    split: Split
    path: Path | None = None  # a file, a folder of frames, or None where only features or lists are at hand
    label: int | None = None  # 0 normal, 1 abnormal, None unknown
    frames: int | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None  # width, height
    scene: str | None = None
    cuts: tuple[int, ...] = ()  # frames at which material was joined: no clip crosses one


class Part(NamedTuple):
    """Frames [start, stop) of the source video `source`, as they stand in a composed video."""

    source: str
    start: int
    stop: int


@dataclass(frozen=True)
class Regions:
    """Abnormal regions of a video, one row for each box, frames ascending."""

    frame: np.ndarray  # int32 (r,)
    box: np.ndarray  # float32 (r, 4)
    track: np.ndarray  # int32 (r,)
    derived: bool  # True where boxes and tracks were derived from masks

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Truth:
    """What is known about one video; each field but the first may be `None`."""

    frames: np.ndarray  # uint8 (n,), 1 where abnormal
    regions: Regions | None = None
    masks: Callable[[int], np.ndarray] | None = None  # frame -> bool (h, w), read when asked
    groups: np.ndarray | None = None  # int16 (n,), the source of each frame where material was composed
    kinds: Mapping[str, np.ndarray] | None = None  # kind of anomaly -> uint8 (n,)


@dataclass(frozen=True)
class Objects:
    """Objects of one video, frames ascending; in each frame detector rows stand before motion rows."""

    frame: np.ndarray  # int32 (m,)
    box: np.ndarray  # float32 (m, 4)
    confidence: np.ndarray  # float32 (m,), 0 for motion boxes
    probability: np.ndarray  # float16 (m, k), class probabilities
    source: np.ndarray  # float32 (m,), 0 from the detector, else the confidence whose boxes were blanked

    ARRAYS = ("frame", "box", "confidence", "probability", "source")  # one .npy of each name in a cache entry

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self, index: np.ndarray) -> "Objects":
        """The objects at `index`, integers or a mask."""
        return Objects(**{name: getattr(self, name)[index] for name in self.ARRAYS})


@dataclass(frozen=True)
class Report:
    """What `Benchmark.check` found: counts per split, and one sentence for each thing that is wrong."""

    benchmark: str
    root: str
    counts: Mapping[str, Mapping[str, int]]  # split -> {videos, frames, abnormal_frames, ...}
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # worth knowing, not wrong

    @property
    def ok(self) -> bool:
        return not self.problems


class ScoredVideo(NamedTuple):
    """A video as the scores file names it."""

    id: str
    split: Split
    frames: int


@dataclass(frozen=True)
class Record:
    """What a method scores, in order: rows `offsets[i]` to `offsets[i + 1]` belong to `videos[i]`."""

    videos: tuple[ScoredVideo, ...]
    offsets: np.ndarray  # int64 (v + 1,)
    frame: np.ndarray | None = None  # int32 (m,), objects and frames: the frame that a row stands for
    box: np.ndarray | None = None  # float32 (m, 4), objects
    first: np.ndarray | None = None  # int32 (m,), snippets: first frame
    end: np.ndarray | None = None  # int32 (m,), snippets: end frame, exclusive

    @property
    def kind(self) -> Literal["objects", "snippets", "frames"]:
        if self.first is not None:
            return "snippets"
        return "objects" if self.box is not None else "frames"

    def __len__(self) -> int:
        return int(self.offsets[-1])


@dataclass(frozen=True)
class CubeBatch:
    """Spatio-temporal cubes of objects, and the keys by which their scores find the way home."""

    cubes: "Tensor"  # uint8 (B, T, H, W, C), C is 1 for grey footage, else 3 (RGB)
    flow: "Tensor | None"  # float16 (B, T, H, W, 2): x, y in pixels of a 512 x 384 frame; None where not asked for
    group: "Tensor"  # int16 (B,), the band of the frame that the box's centre lies in; 0 without bands
    key: "Tensor"  # int64 (B,), the position of the sample in its dataset: scores are gathered by it
    size: int = field(kw_only=True)  # samples of the global batch that this is a share of, over all processes

    def to(self, device: "str | object", **options: object) -> "CubeBatch":
        """The same batch on another device."""
        return replace(
            self,
            cubes=self.cubes.to(device, **options),  # type: ignore[call-overload]
            flow=None if self.flow is None else self.flow.to(device, **options),  # type: ignore[call-overload]
            group=self.group.to(device, **options),  # type: ignore[call-overload]
            key=self.key.to(device, **options),  # type: ignore[call-overload]
        )

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class TubeBatch:
    """Tubes: the box of an object, cut out of the frames around its own, which is the middle one of T.

    In training T reaches as far as the method's longest steps between frames; in scoring it is 7.
    """

    tubes: "Tensor"  # uint8 (B, T, H, W, C), C is 1 for grey footage, else 3 (RGB)
    probability: "Tensor"  # float16 (B, k), the detector's class probabilities, k = 0 where it has none
    logits: "Tensor | None"  # float16 (B, c), a teacher's logits of the middle frame; None where not asked for
    key: "Tensor"  # int64 (B,), the position of the sample in its dataset: scores are gathered by it
    size: int = field(kw_only=True)  # samples of the global batch that this is a share of, over all processes

    def to(self, device: "str | object", **options: object) -> "TubeBatch":
        """The same batch on another device."""
        return replace(
            self,
            tubes=self.tubes.to(device, **options),  # type: ignore[call-overload]
            probability=self.probability.to(device, **options),  # type: ignore[call-overload]
            logits=None if self.logits is None else self.logits.to(device, **options),  # type: ignore[call-overload]
            key=self.key.to(device, **options),  # type: ignore[call-overload]
        )

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class BagBatch:
    """Bags: the snippets of a video, with a label of the whole. C crops, L rows, of which the first `length` are real.

    In training a bag holds pooled segments and `key` its position among the bags, int64 (B,). In scoring it holds every
    snippet of one video, and `key` the row of the record of each real snippet, int64 (sum of `length`,).
    """

    streams: "tuple[Tensor, ...]"  # float16 (B, C, L, D) each, one for each stream of features, zeros behind `length`
    length: "Tensor"  # int64 (B,)
    label: "Tensor"  # int64 (B,), 0 normal, 1 abnormal, -1 unknown
    key: "Tensor"
    size: int = field(kw_only=True)  # bags of the global batch that this is a share of, over all processes

    def to(self, device: "str | object", **options: object) -> "BagBatch":
        """The same batch on another device."""
        return replace(
            self,
            streams=tuple(stream.to(device, **options) for stream in self.streams),  # type: ignore[call-overload]
            length=self.length.to(device, **options),  # type: ignore[call-overload]
            label=self.label.to(device, **options),  # type: ignore[call-overload]
            key=self.key.to(device, **options),  # type: ignore[call-overload]
        )

    def __len__(self) -> int:
        return len(self.length)


@dataclass(frozen=True)
class ClipBatch:
    """Clips of pretext tasks: each carries one task, and the class that is to be told of it.

    A clip of footage is uint8 (B, T, H, W, 3), RGB; one of features is float16 (B, T, D).
    """

    clips: "Tensor"
    task: "Tensor"  # int64 (B,), position in `vad.datamodules.pretext.TASKS`
    target: "Tensor"  # int64 (B,), the class
    video: "Tensor"  # int64 (B,), position among the videos that the clips of this pass are cut from
    label: "Tensor"  # int64 (B,), of that video: 0 normal, 1 abnormal, -1 unknown
    key: "Tensor"  # int64 (B,), the number of the clip in its pass
    broken: tuple[str, ...] = ()  # ids of videos that could not be read, for which others were drawn
    size: int = field(kw_only=True)  # clips of the global batch that this is a share of, over all processes

    def to(self, device: "str | object", **options: object) -> "ClipBatch":
        """The same batch on another device."""
        moved = {
            name: getattr(self, name).to(device, **options)
            for name in ("clips", "task", "target", "video", "label", "key")
        }
        return replace(self, **moved)

    def __len__(self) -> int:
        return len(self.key)


def protocol_splits(protocol: str) -> ProtocolSplits:
    """The splits of a protocol; an unknown name is a `ConfigError`."""
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol: expected one of {', '.join(PROTOCOLS)}, got '{protocol}'")
    return PROTOCOLS[protocol]  # type: ignore[index]
