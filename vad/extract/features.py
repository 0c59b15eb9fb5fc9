"""Features of snippets: one decode of a video, an encoder, one vector for each stream, crop and snippet.

    frames -> resized, cropped: snippets (C, T, H, W, 3) -> encoder -> (C, T, D) or (C, D) -> mean, difference (C, D)

An entry holds `first` and `end`, int32 (n,): snippet i covers the frames [first[i], end[i]) of its source, ascending
and without gaps; and for each stream an array of its name, float16 (n, C, D).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import cv2
import numpy as np

from vad.benchmarks import Benchmark
from vad.errors import ConfigError, DataError
from vad.extract.clips import whole
from vad.extract.crops import scratch
from vad.extract.encoders import Encoder, LoadedEncoder
from vad.extract.extraction import Extraction, Worker
from vad.types import Video

Output = Literal["mean", "difference"]
HELD_BYTES = 64 << 20  # pixels of the snippets that are encoded together


@dataclass(frozen=True)
class Features(Extraction, ABC):
    """What bags are made of: features that were computed here (`FeatureRecipe`) or by others (`PackRecipe`)."""

    @property
    @abstractmethod
    def streams(self) -> tuple[str, ...]:
        """Names of the arrays of an entry, one for each stream."""


@dataclass(frozen=True, kw_only=True)
class FeatureRecipe(Features):
    """Features computed from footage. See the contract of an entry above.

    A snippet begins at every `snippet`-th frame, and anew at each cut of the video. Crops have the encoder's size, in
    the order centre, top left, top right, bottom left, bottom right, then the same five mirrored.

    Args:
        encoder: Turns frames or clips into vectors.
        snippet: Frames of a snippet: 16 as in C3D, I3D and what followed (Sultani et al., 2018).
        stride: Only every `stride`-th frame of a snippet is encoded: an encoder of clips takes snippet / stride frames.
        crops: 1 (the centre), 5 or 10.
        short_side: Of the frames before they are cropped; `None` for 8/7 of the encoder's, as 256 is of 224.
        stretch: Resize the whole frame to the encoder's size instead, whatever its shape, so that nothing is cut off.
        outputs: The streams, all of one decode and one pass. `mean` over the vectors of a snippet's frames, or the
            vector of the clip. `difference`: mean absolute difference of the vectors of consecutive frames (zeros for a
            snippet of one), for encoders of frames.
        tail: What becomes of frames at the end that fill no snippet: one more snippet (`repeat`), or none (`drop`, but
            a video shorter than a snippet keeps its only one). Before a cut they always are a snippet. It ends where
            they end; an encoder of frames sees just them, one of clips sees the last one repeated.
    """

    kind: ClassVar[str] = "features"
    version: ClassVar[int] = 1

    encoder: Encoder
    snippet: int = 16
    stride: int = 1
    crops: Literal[1, 5, 10] = 1
    short_side: int | None = None
    stretch: bool = False
    outputs: tuple[Output, ...] = ("mean",)
    tail: Literal["repeat", "drop"] = "repeat"

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= self.snippet:
            raise ConfigError(f"features: expected 1 <= stride <= snippet, got {self.stride} and {self.snippet}")
        if (
            not self.outputs
            or len(set(self.outputs)) < len(self.outputs)
            or not set(self.outputs) <= {*get_args(Output)}
        ):
            raise ConfigError(f"features: outputs are mean, difference or both, each once, got {list(self.outputs)}")
        if self.crops not in (1, 5, 10):
            raise ConfigError(f"features: crops must be 1, 5 or 10, got {self.crops}")
        if self.stretch and (self.crops != 1 or self.short_side is not None):
            raise ConfigError("features: stretch takes the whole frame, so neither crops nor short_side can be given")

    @property
    def streams(self) -> tuple[str, ...]:
        return tuple(self.outputs)

    def worker(self, device: str) -> Worker:
        """Load the encoder; what it cannot do is a `ConfigError`."""
        return FeatureWorker(self, self.encoder.load(device))


class Snippet(NamedTuple):
    """The vectors of the frames [first, end)."""

    first: int
    end: int
    vectors: Mapping[str, np.ndarray]  # stream -> float32 (C, D)


class FeatureWorker:
    """Computes the features of one video after another."""

    def __init__(self, recipe: FeatureRecipe, encoder: LoadedEncoder) -> None:
        check_fit(recipe, encoder)
        self._recipe = recipe
        self._encoder = encoder
        width, height = encoder.size
        self._together = max(1, HELD_BYTES // (_seen(recipe) * recipe.crops * width * height * 3))

    def __call__(self, benchmark: Benchmark, video: Video) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        started = time.perf_counter()
        with benchmark.open(video) as reader:
            count = len(reader)
            stream = encode(whole(reader, video), self._encoder, self._recipe, cuts=video.cuts, together=self._together)
            limit = most(count, self._recipe.snippet, video.cuts)
            arrays = self._collect(stream, limit, f"{benchmark.name}: {video.id}")
        return arrays, {
            "frames": count,
            "snippets": len(arrays["first"]),
            "seconds": round(time.perf_counter() - started, 3),
        }

    def _collect(self, stream: Iterable[Snippet], limit: int, where: str) -> dict[str, np.ndarray]:
        """Arrays of an entry, out of at most `limit` snippets; those of a long video are filled on disk."""
        first, end = np.empty(limit, np.int32), np.empty(limit, np.int32)
        filled: dict[str, np.ndarray] = {}
        rows = 0
        for snippet in stream:
            first[rows], end[rows] = snippet.first, snippet.end
            for name, vectors in snippet.vectors.items():
                if name not in filled:
                    filled[name] = scratch((limit, *vectors.shape), np.float16)
                with np.errstate(over="ignore"):  # said below
                    filled[name][rows] = vectors
                if not np.isfinite(filled[name][rows]).all():
                    raise DataError(
                        f"{where}: the encoder's '{name}' of snippet {rows} (frames {snippet.first} to "
                        f"{snippet.end - 1}) holds {np.abs(vectors).max():g}, which float16 cannot; check the encoder"
                    )
            rows += 1
        return {"first": first[:rows], "end": end[:rows]} | {name: array[:rows] for name, array in filled.items()}


def encode(
    frames: Iterable[np.ndarray],
    encoder: LoadedEncoder,
    recipe: FeatureRecipe,
    *,
    cuts: Collection[int] = (),
    together: int = 1,
) -> Iterator[Snippet]:
    """Stream frames uint8 RGB (h, w, 3) of one video, in order, to its snippets.

    Args:
        together: Snippets that are held and encoded together; with 1 each comes as soon as its last frame is there.
    """
    snippets = cropped(frames, encoder.size, recipe, frozenset(cuts))
    while batch := list(islice(snippets, together)):
        clips = [_clips(pixels, encoder.frames) for _, _, pixels in batch]
        vectors = np.split(encoder(np.concatenate(clips)), np.cumsum([len(c) for c in clips])[:-1])
        for (first, end, pixels), own in zip(batch, vectors, strict=True):
            seen = own if encoder.frames is not None else own.reshape(*pixels.shape[:2], -1)
            yield Snippet(first, end, summarise(seen, recipe.outputs))


def summarise(vectors: np.ndarray, outputs: Iterable[Output]) -> dict[str, np.ndarray]:
    """Streams (C, D) of vectors (C, T, D) of frames, or (C, D) of clips, whose mean they are themselves."""
    if vectors.ndim == 2:
        return {"mean": vectors}
    with np.errstate(invalid="ignore"):  # an infinite vector is said where it would be stored
        apart = np.abs(np.diff(vectors, axis=1)) if vectors.shape[1] > 1 else np.zeros_like(vectors)
    streams = {"mean": vectors.mean(1), "difference": apart.mean(1)}
    return {name: streams[name] for name in outputs}


def cropped(
    frames: Iterable[np.ndarray], size: tuple[int, int], recipe: FeatureRecipe, cuts: Collection[int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """The snippets that a recipe takes as (first, end, uint8 (C, T, H, W, 3)), T the encoded frames that exist."""
    held: list[np.ndarray] = []  # of the snippet at hand
    first = end = 0
    for index, frame in enumerate(frames):
        if held and index in cuts:
            yield first, index, np.stack(held, 1)
            first, held = index, []
        if (index - first) % recipe.stride == 0:
            held.append(cut(frame, size, recipe))
        end = index + 1
        if end == first + recipe.snippet:
            yield first, end, np.stack(held, 1)
            first, held = end, []
    if held and (recipe.tail == "repeat" or first == 0):
        yield first, end, np.stack(held, 1)


def cut(frame: np.ndarray, size: tuple[int, int], recipe: FeatureRecipe) -> np.ndarray:
    """The crops (C, H, W, 3) of a frame (h, w, 3)."""
    width, height = size
    if recipe.stretch:
        return _resize(frame, size)[None]
    # An encoder's frames may be wider than the footage: both sides are at least as long as a crop's.
    short = recipe.short_side if recipe.short_side is not None else round(min(size) * 8 / 7)
    scale = max(short / min(frame.shape[:2]), width / frame.shape[1], height / frame.shape[0])
    resized = _resize(frame, (round(frame.shape[1] * scale), round(frame.shape[0] * scale)))
    right, bottom = resized.shape[1] - width, resized.shape[0] - height
    corners = [(right // 2, bottom // 2), (0, 0), (right, 0), (0, bottom), (right, bottom)]
    crops = [resized[y : y + height, x : x + width] for x, y in corners[: min(recipe.crops, 5)]]
    if recipe.crops == 10:
        crops += [crop[:, ::-1] for crop in crops]
    return np.stack(crops)


def _resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear where a frame grows, the mean over each pixel's area where it shrinks."""
    grows = size[0] >= frame.shape[1] and size[1] >= frame.shape[0]
    return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR if grows else cv2.INTER_AREA)


def _clips(pixels: np.ndarray, length: int | None) -> np.ndarray:
    """What an encoder sees of a snippet (C, T, H, W, 3): single frames (C * T, H, W, 3), or clips of `length` frames
    (C, length, H, W, 3), the last one repeated."""
    if length is None:
        return pixels.reshape(-1, *pixels.shape[2:])
    return np.concatenate([pixels, *[pixels[:, -1:]] * (length - pixels.shape[1])], 1)


def most(count: int, snippet: int, cuts: Collection[int]) -> int:
    """How many snippets `count` frames give, the last one of the video included."""
    borders = [0, *sorted({c for c in cuts if 0 < c < count}), count]
    return sum(-(-(stop - start) // snippet) for start, stop in pairwise(borders))


def check_fit(recipe: FeatureRecipe, encoder: LoadedEncoder) -> None:
    """Refuse, with a `ConfigError`, what the encoder cannot do."""
    if encoder.frames is not None and "difference" in recipe.outputs:
        raise ConfigError("features: 'difference' needs an encoder of single frames; this one gives one vector a clip")
    if encoder.frames is not None and encoder.frames != _seen(recipe):
        raise ConfigError(
            f"features: the encoder takes clips of {encoder.frames} frames, and snippets of {recipe.snippet} with "
            f"stride {recipe.stride} have {_seen(recipe)}; change snippet or stride"
        )
    if recipe.short_side is not None and recipe.short_side < min(encoder.size):
        raise ConfigError(
            f"features: short_side {recipe.short_side} is shorter than the encoder's frames of "
            f"{encoder.size[0]} x {encoder.size[1]}"
        )


def _seen(recipe: FeatureRecipe) -> int:
    """Encoded frames of a snippet."""
    return -(-recipe.snippet // recipe.stride)
