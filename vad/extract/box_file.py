"""Boxes that another program found, out of one file."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vad import files
from vad.errors import DataError
from vad.extract.boxes import clip
from vad.extract.detectors import Detections, probabilities_of_best

if TYPE_CHECKING:
    from vad.extract.detectors import BoxFile


class Found(NamedTuple):
    """One box of the file."""

    video: str
    frame: int
    box: tuple[float, float, float, float]  # xyxy
    score: float
    category: int | None


class LoadedBoxFile:
    """The file's boxes by video and frame. A frame that the file does not name has none."""

    def __init__(self, settings: "BoxFile") -> None:
        path = Path(settings.path)
        read = _read_csv if settings.format == "csv" else _read_coco
        columns = {category: column for column, category in enumerate(settings.categories)}
        found = defaultdict(list)
        try:
            for item in read(path):
                found[item.video, item.frame].append(item)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{path}: is no {settings.format} file of boxes ({type(error).__name__}: {error})"
            ) from None
        self._frames = {
            key: (
                np.array([item.box for item in items], np.float32),
                np.array([item.score for item in items], np.float32),
                np.stack([self._probability(path, item, columns) for item in items]),
            )
            for key, items in found.items()
        }
        self._videos = {video for video, _ in found}
        self._path = path
        self._none = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, len(columns)), np.float32))

    def __call__(self, frames: np.ndarray, *, video: str, indices: Sequence[int]) -> list[Detections]:
        if video not in self._videos:
            raise DataError(f"{self._path}: has no boxes of the video {video}")
        height, width = frames.shape[1:3]
        return [self._frame(*self._frames.get((video, index), self._none), width, height) for index in indices]

    @staticmethod
    def _frame(box: np.ndarray, score: np.ndarray, probability: np.ndarray, width: int, height: int) -> Detections:
        order = np.argsort(-score, kind="stable")
        box, score, probability = clip(box[order], width, height), score[order], probability[order]
        inside = partial(probabilities_of_best, candidates=box, probability=probability)
        return Detections(box=box, confidence=score, probability=probability.astype(np.float16), inside=inside)

    @staticmethod
    def _probability(path: Path, item: Found, columns: dict[int, int]) -> np.ndarray:
        """The score in its class's column; zeros where the file has no classes."""
        row = np.zeros(len(columns), np.float32)
        if item.category is not None:
            if item.category not in columns:
                raise DataError(f"{path}: names the category {item.category}, which is not in `categories`")
            row[columns[item.category]] = item.score
        return row


def _read_csv(path: Path) -> Iterator[Found]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                box = (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"]))
                category = int(row["category"]) if row.get("category") else None
                yield Found(row["video"], int(row["frame"]), box, float(row["score"]), category)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _read_coco(path: Path) -> Iterator[Found]:
    content = files.read_json(path)
    whole = isinstance(content, dict)
    images = {image["id"]: image for image in content["images"]} if whole else {}
    videos = {video["id"]: video["name"] for video in content.get("videos", [])} if whole else {}
    for result in content["annotations"] if whole else content:
        video, frame = _place(result["image_id"], images, videos)
        x, y, width, height = map(float, result["bbox"])
        yield Found(video, frame, (x, y, x + width, y + height), float(result["score"]), int(result["category_id"]))


def _place(image_id: Any, images: dict[Any, Any], videos: dict[Any, str]) -> tuple[str, int]:
    """Video and frame of an image."""
    if not images:
        video, frame = str(image_id).rsplit("/", 1)
        return video, int(frame)
    image = images[image_id]
    return str(videos.get(image["video_id"], image["video_id"])), int(image["frame_id"])
