"""Steps of published chains, from the scores of rows to the scores of frames.

A first step turns rows into frames (`fill`, or `paint` and perhaps `mean3d`), the others take and give a list of
float64 (n,), one for each video.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from vad.aggregation.frames import frame_scores
from vad.errors import ConfigError
from vad.types import Record, ScoredVideo

LONGEST = 100_000  # frames that a step may span, an hour of footage: kernels are made before they are used

Padding = Literal["zero", "nearest", "reflect", "repeat"]


class Rows(NamedTuple):
    """What a chain starts from."""

    record: Record
    score: np.ndarray  # float64 (m,)


class Maps(NamedTuple):
    """Score maps of all videos, painted when they are read: whole volumes need not fit in memory at once."""

    rows: Rows
    scale: float
    normal: float


Frames = list[np.ndarray]


def fill(rows: Rows, *, value: float) -> Frames:
    """Scores of frames, `value` for a frame without a box (LBR: -20)."""
    return frame_scores(rows.record, rows.score, floor=value)


def paint(rows: Rows, *, scale: float = 1.0, normal: float = 0.0) -> Maps:
    """Paint boxes into a map of the frame divided by `scale`, which starts at `normal`; the most abnormal box wins.

    SSMTL's family: coordinates are rounded after the division, and both corners are painted. The frame's score is the
    maximum of its map.
    """
    if not scale >= 0.01:
        raise ConfigError(f"paper_chain: paint: scale must be 0.01 or more, got {scale}")
    return Maps(rows, float(scale), float(normal))


def mean3d(maps: Maps, *, size: int = 5) -> Frames:
    """Mean over `size` frames, rows and columns of the maps, then the maximum of each frame's map.

    Our choice: beyond the ends of a video its first or last map stands, and beyond the picture the normal value, so
    that the picture's size need not be known. Scores of frames or snippets count as boxes that fill the picture.
    """
    from scipy.ndimage import uniform_filter, uniform_filter1d

    if maps.rows.record.kind != "objects":
        return [uniform_filter1d(frames, size, mode="nearest") for frames in _maxima(maps)]
    smoothed = []
    for video in range(len(maps.rows.record.videos)):
        volume = _volume(maps, video, margin=size // 2)
        volume = uniform_filter1d(volume, size, axis=0, mode="nearest")
        mean = uniform_filter(volume, (0, size, size), mode="constant", cval=maps.normal)
        smoothed.append(mean.reshape(len(mean), -1).max(axis=1).astype(np.float64))
    return smoothed


def _volume(maps: Maps, video: int, margin: int) -> np.ndarray:
    """The maps of one video, float32 (n, h, w), cut to what is painted and a margin around it."""
    record, score = maps.rows
    rows = slice(int(record.offsets[video]), int(record.offsets[video + 1]))
    assert record.frame is not None and record.box is not None
    corner = np.round(record.box[rows].astype(np.float64) / maps.scale).astype(np.int64)
    if len(corner) == 0:
        return np.full((record.videos[video].frames, 1, 1), maps.normal, dtype=np.float32)
    low, high = corner[:, :2].min(axis=0), corner[:, 2:].max(axis=0)
    corner = corner - np.tile(low, 2) + margin
    width, height = (high - low) + 1 + 2 * margin
    volume = np.full((record.videos[video].frames, height, width), maps.normal, dtype=np.float32)
    for frame, (x1, y1, x2, y2), value in zip(record.frame[rows], corner, score[rows], strict=True):
        region = volume[frame, y1 : y2 + 1, x1 : x2 + 1]
        np.maximum(region, value, out=region, casting="same_kind")
    return volume


def _maxima(maps: Maps) -> Frames:
    """The maximum of each frame's map, which no map need be painted for."""
    frames = frame_scores(maps.rows.record, maps.rows.score, floor=maps.normal)
    return [np.maximum(video, maps.normal) for video in frames] if maps.rows.record.kind == "objects" else frames


def moving_average(frames: Frames, *, taps: int, padding: Padding = "zero", across_clips: bool = False) -> Frames:
    """Mean of `taps` frames; for even `taps` frames n - taps/2 .. n + taps/2 - 1, as `convolve(..., "same")` does."""
    return _correlate(frames, np.full(taps, 1.0 / taps), padding, across_clips, before=taps // 2)


def gaussian(
    frames: Frames,
    *,
    taps: int,
    sigma: float,
    padding: Padding = "reflect",
    as_published: bool = False,
    across_clips: bool = False,
) -> Frames:
    """Gaussian over time of `taps` frames.

    `as_published` is what the public code of SSMTL's family does: the weights are centred one tap early, which delays
    the result by a frame, and are not normalised to sum 1. Otherwise the kernel is centred and normalised.
    """
    centre = taps // 2 - (1 if as_published else 0)
    kernel = np.exp(-0.5 * ((np.arange(taps) - centre) / sigma) ** 2)
    kernel /= sigma * np.sqrt(2 * np.pi) if as_published else kernel.sum()
    return _correlate(frames, kernel, padding, across_clips, before=taps // 2)


def median(frames: Frames, *, taps: int, padding: Padding = "zero") -> Frames:
    """Running median of an odd number of frames (HF2-VAD: 17, zero padded)."""
    from numpy.lib.stride_tricks import sliding_window_view

    return [
        np.median(sliding_window_view(_pad(video, taps // 2, taps // 2, padding), taps), axis=1) for video in frames
    ]


def minmax(frames: Frames, *, per: Literal["video", "all"] = "video") -> Frames:
    """To [0, 1], of each video by itself or over all of them; what is constant becomes 0."""

    def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
        return (values - low) / (high - low) if high > low else np.zeros_like(values)

    return _normalised(frames, per, lambda v, whole: scaled(v, whole.min(initial=np.inf), whole.max(initial=-np.inf)))


def zscore(frames: Frames, *, per: Literal["video", "all"] = "video") -> Frames:
    """Minus the mean over the deviation, of each video by itself or over all of them; what is constant becomes 0."""

    def scaled(values: np.ndarray, whole: np.ndarray) -> np.ndarray:
        deviation = whole.std() if len(whole) and np.ptp(whole) > 0 else 0.0
        return (values - whole.mean()) / deviation if deviation > 0 else np.zeros_like(values)

    return _normalised(frames, per, scaled)


def _normalised(frames: Frames, per: str, scaled: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Frames:
    if per not in ("video", "all"):
        raise ConfigError(f"paper_chain: per must be video or all, got '{per}'")
    everything = np.concatenate(frames) if frames else np.zeros(0)
    return [scaled(video, video if per == "video" else everything) for video in frames]


def _correlate(frames: Frames, kernel: np.ndarray, padding: Padding, across_clips: bool, before: int) -> Frames:
    """output[n] = sum over k of kernel[k] * input[n - before + k]."""
    if across_clips and frames:
        joined = _correlate([np.concatenate(frames)], kernel, padding, False, before)[0]
        return np.split(joined, np.cumsum([len(video) for video in frames])[:-1])
    total = kernel.sum()
    smoothed = []
    for video in frames:
        padded = _pad(video, before, len(kernel) - 1 - before, padding)
        if padding == "zero":
            smoothed.append(np.correlate(padded, kernel, "valid") if len(video) else video)
            continue
        # Around a value of the video itself: a constant stays constant to the last bit, whatever the rounding.
        around = video[0] if len(video) else 0.0
        smoothed.append(around * total + np.correlate(padded - around, kernel, "valid") if len(video) else video)
    return smoothed


def _pad(video: np.ndarray, before: int, after: int, padding: Padding) -> np.ndarray:
    if len(video) == 0:
        return video
    if padding == "repeat":  # the first and last values in their own order, over again where the video is shorter
        return np.concatenate([np.resize(video, before), video, np.resize(video[::-1], after)[::-1]])
    modes = {"zero": "constant", "nearest": "edge", "reflect": "symmetric"}
    if padding not in modes:
        raise ConfigError(f"paper_chain: padding must be one of {', '.join(get_args(Padding))}, got '{padding}'")
    return np.pad(video, (before, after), mode=modes[padding])  # type: ignore[call-overload]


STEPS: Mapping[str, Callable[..., Any]] = {
    step.__name__: step for step in (fill, paint, mean3d, moving_average, gaussian, median, minmax, zscore)
}


def leaks(chain: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the steps of a chain see that a detector on live footage does not, in words, each once."""
    found: list[str] = []
    for name, arguments in _steps(chain):
        given = inspect.signature(STEPS[name]).bind_partial(None, **arguments)
        given.apply_defaults()
        value = given.arguments
        if value.get("taps", 1) > 1 or value.get("size", 1) > 1:
            found.append(f"{name}: future frames")
        if value.get("padding") == "zero":
            found.append(
                f"{name}: zero padding, which lowers the ends of a {'data set' if _across(value) else 'video'}"
            )
        if _across(value):
            found.append(f"{name}: crosses clips")
        if value.get("per") == "video":
            found.append(f"{name}: per-video normalisation")
        if value.get("per") == "all":
            found.append(f"{name}: statistics of the test videos")
    return list(dict.fromkeys(found))


def _across(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments.get("across_clips", False))


def apply_chain(
    chain: Sequence[Mapping[str, Mapping[str, Any]]], record: Record, score: np.ndarray, *, floor: float | None = None
) -> list[np.ndarray]:
    """Run a published chain: each step a mapping of one key, a function of this module and its arguments.

    A chain of objects starts with `fill` or `paint`; where it does not, frames without a box get `floor`.
    Returns float64 (n,) for each video. Raises `ConfigError` for a step that does not exist or arguments that do not
    fit.
    """
    state: Any = Rows(record, np.asarray(score, dtype=np.float64))
    for name, arguments in _steps(chain):
        takes = next(iter(inspect.signature(STEPS[name]).parameters.values())).annotation
        if takes is Rows and not isinstance(state, Rows):
            raise ConfigError(f"paper_chain: {name} must be the first step")
        if takes is Maps and not isinstance(state, Maps):
            raise ConfigError(f"paper_chain: {name} must follow paint")
        if takes not in (Rows, Maps):
            state = _frames(state, floor)
        try:
            state = STEPS[name](state, **arguments)
        except (TypeError, ValueError, ArithmeticError, MemoryError, IndexError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"paper_chain: step {name} cannot be run with {arguments} ({reason})") from None
    return _frames(state, floor)


def check_chain(chain: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """Raise `ConfigError` for a chain that cannot be run, by running it on a box in a video of three frames."""
    rows = Record(
        videos=(ScoredVideo("a trial", "test", 3),),
        offsets=np.array([0, 1]),
        frame=np.array([1], np.int32),
        box=np.array([[0, 0, 8, 8]], np.float32),
    )
    with np.errstate(divide="raise", invalid="raise"):
        (frames,) = apply_chain(chain, rows, np.ones(1), floor=0.0)
    if frames.shape != (3,) or not np.isfinite(frames).all():
        raise ConfigError(f"paper_chain: {', '.join(map(str, chain))} gives no finite score for each frame")


def _frames(state: "Rows | Maps | Frames", floor: float | None) -> Frames:
    if isinstance(state, Rows):
        return frame_scores(state.record, state.score, floor=floor)
    return _maxima(state) if isinstance(state, Maps) else state


def _steps(chain: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The chain's steps as (name, arguments), checked."""
    steps = []
    for step in chain:
        if not isinstance(step, Mapping) or len(step) != 1:
            raise ConfigError(f"paper_chain: a step is a mapping of one key, got {step!r}")
        ((name, arguments),) = step.items()
        if name not in STEPS:
            raise ConfigError(f"paper_chain: there is no step '{name}', only {', '.join(STEPS)}")
        if not isinstance(arguments or {}, Mapping):
            raise ConfigError(f"paper_chain: the arguments of {name} must be a mapping, got {arguments!r}")
        try:
            inspect.signature(STEPS[name]).bind(None, **(arguments or {}))
        except TypeError as error:
            raise ConfigError(f"paper_chain: step {name}: {error}") from None
        for length in ("taps", "size"):
            value = (arguments or {}).get(length, 1)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST:
                raise ConfigError(f"paper_chain: step {name}: {length} must be 1 to {LONGEST} frames, got {value!r}")
        steps.append((name, dict(arguments or {})))
    return steps
