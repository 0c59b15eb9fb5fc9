"""Scores of frames that another program wrote."""

import csv
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from vad import files
from vad.benchmarks import Benchmark
from vad.benchmarks.benchmark import Grid
from vad.errors import ConfigError, ScoresError, VadError
from vad.scores.scores import Scores
from vad.types import Record, ScoredVideo, Video, protocol_splits


def foreign_scores(
    path: str | Path,
    benchmark: Benchmark,
    *,
    protocol: str,
    grid: Grid | None = None,
    method: str | None = None,
) -> Scores:
    """Scores of frames, one for each frame of every video that the protocol scores; higher is more abnormal.

    - a folder with one `.npy` vector for each video: `<id>.npy`, the id as it is or percent-escaped;
    - one `.npy` vector with all videos behind one another, in the order of the benchmark's list, on its grid (`grid`,
      by default the benchmark's): the published label vectors have this form;
    - a CSV file with the columns video, frame (from 0) and score, in any order of rows.

    `method` names the scores, by default after the file. Raises `ScoresError` for NaN, videos that are missing or
    unknown, and lengths that do not fit.
    """
    path = Path(path)
    if not path.exists():
        raise ScoresError(f"{path}: no such file or folder")
    videos = [video for split in protocol_splits(protocol).score for video in benchmark.videos(split)]
    if not videos:
        raise ConfigError(f"the protocol {protocol} scores no videos")
    if path.is_dir():
        vectors = _folder(path, videos)
    elif path.suffix == ".npy":
        vectors = _one_vector(path, videos, [benchmark.grid_length(v, grid or benchmark.default_grid) for v in videos])
    elif path.suffix == ".csv":
        vectors = _csv(path, videos)
    else:
        raise ScoresError(f"{path}: expected a folder of .npy files, one .npy, a .csv, or a scores file .npz")
    lengths = [len(vector) for vector in vectors]
    record = Record(
        videos=tuple(ScoredVideo(v.id, v.split, n) for v, n in zip(videos, lengths, strict=True)),
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        frame=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    )
    header = {"method": method or path.stem, "benchmark": benchmark.name, "protocol": protocol, "range": "raw"}
    scores = Scores(record, np.concatenate(vectors), header=header)
    try:
        scores.check()
    except ScoresError as error:
        raise ScoresError(f"{path}: {error}") from None
    return scores


def _vector(path: Path) -> np.ndarray:
    """One vector of numbers as float64 (n,); mapped first, so that a damaged header allocates nothing."""
    try:
        array = files.read_npy(path, mmap=True)
    except VadError as error:
        raise ScoresError(str(error)) from None
    if array.dtype.kind not in "fiub":
        raise ScoresError(f"{path}: expected numbers, got {array.dtype}")
    if array.ndim == 0 or array.size != max(array.shape):
        raise ScoresError(f"{path}: expected one score for each frame, got the shape {array.shape}")
    return np.array(array, dtype=np.float64).reshape(-1)


def _folder(path: Path, videos: Sequence[Video]) -> list[np.ndarray]:
    names = {file.name for file in path.iterdir() if file.suffix == ".npy"}
    found = []
    for video in videos:
        name = next((n for n in (f"{video.id}.npy", f"{quote(video.id, safe='')}.npy") if n in names), None)
        if name is None:
            raise ScoresError(f"{path}: has no {quote(video.id, safe='')}.npy, the scores of the video {video.id}")
        names.remove(name)
        found.append(_vector(path / name))
    if names:
        raise ScoresError(f"{path}: holds {min(names)}, which belongs to no video that is scored")
    return found


def _one_vector(path: Path, videos: Sequence[Video], lengths: Sequence[int]) -> list[np.ndarray]:
    vector = _vector(path)
    if len(vector) != sum(lengths):
        raise ScoresError(
            f"{path}: holds {len(vector)} scores, but the {len(videos)} videos have {sum(lengths)} frames on this "
            "grid; another --grid may fit"
        )
    return np.split(vector, np.cumsum(lengths)[:-1])


def _csv(path: Path, videos: Sequence[Video]) -> list[np.ndarray]:
    index = {video.id: number for number, video in enumerate(videos)}
    rows: list[list[tuple[int, float]]] = [[] for _ in videos]
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            if [column.strip() for column in next(reader, [])] != ["video", "frame", "score"]:
                raise ScoresError(f"{path}: the first line must be video,frame,score")
            for row in reader:
                try:
                    id, frame, score = row
                    rows[index[id]].append((int(frame), float(score)))
                except (ValueError, KeyError):
                    raise ScoresError(
                        f"{path}, line {reader.line_num}: expected a known video, a frame and a score, got {row!r:.120}"
                    ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScoresError(f"{path}: cannot be read as CSV ({error})") from None
    found = []
    for video, scored in zip(videos, rows, strict=True):
        scored.sort(key=lambda item: item[0])
        wrong = next((i for i, (frame, _) in enumerate(scored) if frame != i), None)
        if not scored or wrong is not None:
            raise ScoresError(f"{path}: {video.id} lacks the frame {wrong or 0}, or has it twice")
        found.append(np.array([score for _, score in scored], dtype=np.float64))
    return found
