"""Abnormal intervals as published, to labels of frames. Here they are half open and count from 0."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vad.errors import DataError

Intervals = list[tuple[int, int]]  # [start, end) from 0

_MATLAB_ENTRY = re.compile(r"TestVideoFile\{end\+1\}\.gt_frame\s*=\s*\[([^\]]*)\]")


def labels_from_intervals(intervals: Sequence[tuple[int, int]], frames: int) -> np.ndarray:
    """Labels uint8 (frames,), 1 inside any interval; what lies outside the video is cut off."""
    labels = np.zeros(frames, np.uint8)
    for start, end in intervals:
        labels[max(start, 0) : max(end, 0)] = 1
    return labels


def read_matlab_list(path: Path) -> list[Intervals]:
    """One list of intervals for each test clip, from the `.m` file of the UCSD archive.

    A line reads `TestVideoFile{end+1}.gt_frame = [5:90, 140:200];`, counted from 1, both ends inclusive.
    """
    clips: list[Intervals] = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        entry = _MATLAB_ENTRY.search(line.partition("%")[0])
        if entry is None:
            continue
        clips.append([])
        for piece in re.split(r"[\s,;]+", entry[1].strip()):
            interval = re.fullmatch(r"(\d+)(?::(\d+))?", piece)
            if interval is None:
                raise DataError(f"{path}, line {number}: expected ranges such as [5:90, 140:200], got [{entry[1]}]")
            first, last = int(interval[1]), int(interval[2] or interval[1])
            clips[-1].append(_inclusive(first, last, where=f"{path}, line {number}"))
    return clips


def read_matlab_cells(path: Path, variable: str = "gt") -> list[Intervals]:
    """One list of intervals for each test clip, from the `.mat` file of a re-packed benchmark.

    The variable is a cell array with a matrix (2, k) for each clip: first frames, then last frames, counted from 1,
    both ends inclusive. Files that were squeezed and saved again hold vectors of 2 or, where each clip has one
    interval, one matrix (clips, 2): both are read as well.
    """
    from scipy.io import loadmat  # 0.3 s, which commands that read no such file do not wait for

    try:
        content = loadmat(path)
    except (OSError, ValueError, NotImplementedError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as a MATLAB file ({' '.join(str(error).split())})") from None
    if variable not in content:
        raise DataError(f"{path}: there is no variable '{variable}'")
    cells = content[variable]
    clips: list[Intervals] = []
    for number, cell in enumerate(cells.ravel() if cells.dtype == object else cells, start=1):
        matrix = np.asarray(cell)
        matrix = matrix.reshape(2, 1) if matrix.size == 2 else matrix
        if matrix.ndim != 2 or (matrix.size and len(matrix) != 2):
            raise DataError(f"{path}: clip {number} is no matrix of 2 rows, but {matrix.shape}")
        where = f"{path}, clip {number}"
        clips.append([_inclusive(int(first), int(last), where=where) for first, last in matrix.reshape(2, -1).T])
    return clips


def _inclusive(first: int, last: int, *, where: str) -> tuple[int, int]:
    """From 1-based, both ends inclusive, to half open from 0."""
    if not 1 <= first <= last:
        raise DataError(f"{where}: {first}:{last} is no range of frames")
    return first - 1, last


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
