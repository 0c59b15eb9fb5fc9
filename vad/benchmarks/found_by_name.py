"""Benchmarks whose official files and footage are found by their names, at any depth."""

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from vad.benchmarks.benchmark import Benchmark, data_root
from vad.benchmarks.frame_folders import places_by_name
from vad.errors import DataError, VadError
from vad.types import Video

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
DECODE_SECONDS = 3600.0  # limit for one file: the longest, of UCF-Crime, has 976,503 frames


class FoundByName(Benchmark):
    """Official files lie anywhere below the root or in `$VAD_DATA/annotations/<folder>`, footage below the root.

    Args:
        root: Folder below which files and footage lie, at any depth; `None` means `$VAD_DATA/<folder>`, which need not
            exist where the official files lie among the annotations.
    """

    frame_folder: ClassVar[re.Pattern[str] | None] = None  # names of folders of frames that stand for a video

    @property
    def dataset(self) -> str:
        return self.folder

    def official(self, *names: str, advice: str) -> Path:
        """The first of some official files that lies below the root, or among the annotations."""
        for places in (self._below_root, self._annotated):
            for name in names:
                if name in places:
                    return places[name][0]
        raise DataError(f"{self.name}: {names[0]} lies neither below {self._where} nor in {self.annotations}; {advice}")

    def official_in(self, folders: Iterable[str], name: str) -> Path | None:
        """An official file that lies in a folder of one of some names: files of other kinds may share its own."""
        for places in (self._below_root, self._annotated):
            for path in places.get(name, ()):
                if path.parent.name in folders:
                    return path
        return None

    @property
    def _where(self) -> Path:
        return Path(self._root) if self._root is not None else data_root() / self.folder

    @cached_property
    def _below_root(self) -> dict[str, list[Path]]:
        """What lies below the root, by name; nothing where the default root does not exist."""
        if self._root is None and not self._where.is_dir():
            return {}
        return places_by_name(self.root, self.frame_folder)

    @cached_property
    def _annotated(self) -> dict[str, list[Path]]:
        return places_by_name(self.annotations) if self.annotations.is_dir() else {}


def check_files(videos: Iterable[Video], *, decode: bool) -> list[str]:
    """Files that are empty; with `decode` those that cannot be decoded to their end or are not as long as known.

    One frame more or less is no problem: decoders are known to differ by it (1,412 or 1,413 of `Abuse028_x264`).
    """
    from vad.video import decode_check

    problems = []
    for video in videos:
        if video.path is None:
            continue
        if video.path.is_file() and not video.path.stat().st_size:
            problems.append(f"{video.path}: is empty")
        elif decode:
            try:
                frames = decode_check(video.path, DECODE_SECONDS)
            except VadError as error:
                problems.append(str(error))
                continue
            if video.frames is not None and abs(frames - video.frames) > 1:
                problems.append(f"{video.path}: has {frames} frames, {video.frames} are known of it")
    return problems
