"""Scores of one method over one benchmark, and their file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from vad.aggregation import Fusion, HeadStatistics, Statistics, fuse, lowest
from vad.errors import ScoresError
from vad.scores.archive import member, read_members, write_members
from vad.types import Record, ScoredVideo, Split


@dataclass(frozen=True)
class Scores:
    """Scores of one method over one benchmark; higher is more abnormal, always.

    `header` holds `method`, `benchmark`, `protocol`, `recipe` (hash), `weights` (hash), `range` ("raw" or "logit"),
    `statistics` (head -> one mapping for each group), `fusion` (kind, weights, clip), `floor` (the score of a frame
    without objects), `chain` (the steps of `paper_chain`, or none), `skipped` (ids of videos that were left out on
    purpose) and `version`; the videos are added from the record when the file is written. No times, paths, devices or
    run names.
    """

    record: Record
    score: np.ndarray  # float64 (m,)
    heads: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> float32 (m,)
    group: np.ndarray | None = None  # int16 (m,)
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def statistics(self) -> Statistics | None:
        """The heads' statistics on training samples, as the header holds them."""
        known = self.header.get("statistics")
        if not known:
            return None
        try:
            return {head: [HeadStatistics(**group) for group in groups] for head, groups in known.items()}
        except (TypeError, AttributeError):
            raise ScoresError(
                "scores: the header's statistics are not head -> count, mean, deviation, minimum"
            ) from None

    def fused(self, kind: Fusion, *, weights: Mapping[str, float] | None = None, clip: float | None = None) -> "Scores":
        """The same scores with their heads fused anew, without the model.

        Our choice: the floor becomes the fusion of the heads' minima on training samples, since the lowest fused score
        of a training sample is not in the file; it is never above that.
        """
        if not self.heads:
            raise ScoresError("scores: this file has no heads to fuse, only one score")
        statistics = self.statistics
        header = {**self.header, "fusion": {"kind": kind, "weights": dict(weights) if weights else None, "clip": clip}}
        if self.record.kind == "objects":
            if statistics is None:
                raise ScoresError(
                    "scores: the header has no statistics, so the score of a frame without objects is open"
                )
            header["floor"] = lowest(statistics, kind=kind, weights=weights, clip=clip)
        score = fuse(self.heads, statistics, kind=kind, weights=weights, clip=clip, group=self.group)
        return replace(self, score=score, header=header)

    def check(self) -> None:
        """Raise `ScoresError` for NaN, lengths that differ, frames outside their video, boxes of negative size."""
        record, rows = self.record, len(self.score)
        offsets = record.offsets
        if len(offsets) != len(record.videos) + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ScoresError("scores: the offsets do not cut the rows into one part for each video")
        if len({video.id for video in record.videos}) != len(record.videos):
            raise ScoresError("scores: a video stands in them twice")
        kinds = (record.frame is not None, record.box is not None, record.first is not None, record.end is not None)
        if kinds not in ((True, True, False, False), (True, False, False, False), (False, False, True, True)):
            raise ScoresError("scores: rows need frame and box (objects), frame (frames), or first and end (snippets)")
        arrays: dict[str, np.ndarray | None] = {
            "score": self.score,
            "group": self.group,
            "frame": record.frame,
            "box": record.box,
            "first": record.first,
            "end": record.end,
            **{f"head.{name}": column for name, column in self.heads.items()},
        }
        for name, array in arrays.items():
            if array is None:
                continue
            columns = member(name)[1]
            if array.shape != ((int(offsets[-1]), columns) if columns else (int(offsets[-1]),)):
                raise ScoresError(
                    f"scores: {name} has shape {array.shape}, but the offsets give {int(offsets[-1])} rows"
                )
        floats = [name for name in arrays if name in ("score", "box") or name.startswith("head.")]
        for name in floats:
            array = arrays[name]
            if array is not None and np.isnan(array).any():
                row = int(np.argmax(np.isnan(array).reshape(rows, -1).any(axis=1)))
                raise ScoresError(f"{self._video_of(row).id}: {name} is NaN in row {row}")
        lengths = np.repeat([video.frames for video in record.videos], np.diff(offsets))
        if record.frame is not None:
            self._refuse((record.frame < 0) | (record.frame >= lengths), "names a frame outside the video")
        if record.first is not None and record.end is not None:
            self._refuse((record.first < 0) | (record.first >= lengths), "starts a snippet outside the video")
            self._refuse(record.end <= record.first, "has a snippet that ends before it starts")
        if record.box is not None:
            box = record.box
            self._refuse(~np.isfinite(box).all(axis=1), "has a box that is not finite")
            self._refuse((np.abs(box) > 1e9).any(axis=1), "has a box that lies in no picture")
            self._refuse((box[:, 2] < box[:, 0]) | (box[:, 3] < box[:, 1]), "has a box of negative size")
        floor = self.header.get("floor")
        if floor is not None and not (_number(floor) and np.isfinite(floor)):
            raise ScoresError(f"scores: the header's floor must be a finite number, got {floor!r}")
        if self.header.get("range", "raw") not in ("raw", "logit"):
            raise ScoresError(f"scores: the header's range must be raw or logit, got {self.header['range']!r}")

    def _video_of(self, row: int) -> ScoredVideo:
        return self.record.videos[int(np.searchsorted(self.record.offsets, row, side="right")) - 1]

    def _refuse(self, wrong: np.ndarray, what: str) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ScoresError(f"{self._video_of(row).id}: row {row} of the scores {what}")

    def save(self, path: str | Path) -> None:
        """Write the file atomically; equal scores give equal bytes."""
        self.check()
        header = {**self.header, "videos": [video._asdict() for video in self.record.videos]}
        try:
            text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ScoresError(f"scores: the header cannot be written as JSON ({error})") from None
        arrays: dict[str, np.ndarray | None] = {
            "header": np.frombuffer(text.encode(), dtype=np.uint8),
            "offsets": self.record.offsets,
            "score": self.score,
            "group": self.group,
            "frame": self.record.frame,
            "box": self.record.box,
            "first": self.record.first,
            "end": self.record.end,
            **{f"head.{name}": column for name, column in self.heads.items()},
        }
        write_members(path, {name: array for name, array in arrays.items() if array is not None})

    @classmethod
    def load(cls, path: str | Path) -> "Scores":
        """Read and check a file; raises `ScoresError` that names it."""
        try:
            arrays = read_members(Path(path))
            scores = _from_arrays(arrays)
            scores.check()
        except FileNotFoundError:
            raise ScoresError(f"{path}: no such file") from None
        except ScoresError as error:
            raise ScoresError(f"{path}: {error}") from None
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            RuntimeError,
            EOFError,
            OverflowError,
        ) as error:
            raise ScoresError(
                f"{path}: is no scores file ({' '.join(str(error).split()) or type(error).__name__})"
            ) from None
        return scores


def _from_arrays(arrays: dict[str, np.ndarray]) -> Scores:
    missing = [name for name in ("header", "offsets", "score") if name not in arrays]
    if missing:
        raise ScoresError(f"has no member {missing[0]}")
    header = json.loads(arrays["header"].tobytes().decode("utf-8"), parse_constant=_refuse_constant)
    if not isinstance(header, dict) or not isinstance(header.get("videos"), list):
        raise ScoresError("has a header without a list of videos")
    videos = tuple(_scored_video(video) for video in header.pop("videos"))
    for key in ("method", "benchmark", "protocol"):
        if not isinstance(header.get(key, ""), str):
            raise ScoresError(f"has a header whose {key} is no text")
    record = Record(
        videos=videos,
        offsets=arrays["offsets"],
        frame=arrays.get("frame"),
        box=arrays.get("box"),
        first=arrays.get("first"),
        end=arrays.get("end"),
    )
    heads = {name.removeprefix("head."): column for name, column in arrays.items() if name.startswith("head.")}
    return Scores(record, arrays["score"], heads=heads, group=arrays.get("group"), header=header)


def _scored_video(value: Any) -> ScoredVideo:
    if (
        not isinstance(value, dict)
        or set(value) != {"id", "split", "frames"}
        or not isinstance(value["id"], str)
        or value["split"] not in get_args(Split)
        or not isinstance(value["frames"], int)
        or isinstance(value["frames"], bool)
        or not 0 <= value["frames"] < 2**31
    ):
        raise ScoresError(f"has a header that names a video without id, split and frames: {str(value)[:80]}")
    return ScoredVideo(**value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_constant(constant: str) -> float:
    raise ScoresError(f"has a header with {constant}")
