"""Which video, and which crop of it, a file of a feature pack belongs to, by its name."""

import difflib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from vad.errors import DataError
from vad.extract.pack_files import READ

# <video>, <video>_i3d (RTFM), <video>__vggish (Wu), then nothing, __<crop> (Wu, VadCLIP) or _<crop> (PEL4VAD).
_NAME = re.compile(r"(?P<id>.+?)(?P<tag>_i3d|__vggish)?(?:(?P<mark>__?)(?P<crop>\d))?")


class Named(NamedTuple):
    """A file and what its name says."""

    path: Path
    id: str
    tag: str = ""  # `_i3d`, or nothing
    mark: str = ""  # what stands before the number of the crop
    crop: int | None = None  # None without a number


def match(found: Sequence[tuple[Path, tuple[str, ...]]], ids: Collection[str]) -> tuple[list[Named], list[Path]]:
    """The files that belong to videos, and those that belong to none.

    Names are compared whole. Where none is equal they are compared without regard to punctuation, by which archives and
    file systems differ: the dots of `Thelma...Louise.1991__#...` became other characters in a shared one, `#` may have
    become `%23`. Letters keep their case, since ids of web videos differ by it.
    """
    exact = {id: id for id in ids}
    keys = Counter(map(_loosely, ids))
    loose = {key: id for id in ids if keys[key := _loosely(id)] == 1}
    depths = sorted({id.count("/") + 1 for id in ids}, reverse=True)
    named, unknown = [], []
    for path, parts in found:
        stem = path.name.removesuffix(path.suffix)
        tails = ["/".join((*parts[-depth:-1], stem)) for depth in depths if depth <= len(parts)]
        hits = (hit for known in (exact, loose) for tail in tails if (hit := _parse(path, tail, known)) is not None)
        if (hit := next(hits, None)) is not None:
            named.append(hit)
        else:
            unknown.append(path)
    readable = {(name.id, name.crop) for name in named if name.path.suffix in READ}
    named = [name for name in named if name.path.suffix in READ or (name.id, name.crop) not in readable]
    return named, unknown


def in_crop_order(named: Sequence[Named]) -> dict[str, list[Named]]:
    """The files of each video, by crop. A file without a number is crop 0 where others have one: the centre.

    Raises `DataError` where names follow several conventions, or two files are one crop of one video.
    """
    for attribute in ("tag", "mark"):
        examples = {getattr(name, attribute): name for name in reversed(named)}
        if attribute == "mark" and len(examples) > 1:
            examples.pop("", None)
        if len(examples) > 1:
            one, other = list(examples.values())[:2]
            raise DataError(
                f"files are named in several ways, such as {one.path.name} and {other.path.name}: these are several "
                "packs; give the folder of one of them as --source"
            )
    videos: dict[str, list[Named]] = {}
    for name in named:
        videos.setdefault(name.id, []).append(name)
    for id, files in videos.items():
        files.sort(key=lambda name: name.crop or 0)
        for one, other in pairwise(files):
            if (one.crop or 0) == (other.crop or 0):
                raise DataError(
                    f"{id} has two files of one crop, {one.path} and {other.path}: give the folder of one pack as "
                    "--source, or remove one of the files"
                )
    return videos


def near(id: str, paths: Sequence[Path]) -> Path | None:
    """A file without a video whose name is like an id."""
    names = {path.stem: path for path in paths}
    close = difflib.get_close_matches(id, names, n=1, cutoff=0.85)
    return names[close[0]] if close else None


def _parse(path: Path, name: str, known: dict[str, str]) -> Named | None:
    def video(name: str) -> str | None:
        name = name.removesuffix(".mp4")
        return known.get(name) or known.get(_loosely(name))

    if (id := video(name)) is not None:
        return Named(path, id)
    parsed = _NAME.fullmatch(name)
    if parsed is None or (id := video(parsed["id"])) is None:
        return None
    crop = None if parsed["crop"] is None else int(parsed["crop"])
    return Named(path, id, parsed["tag"] or "", parsed["mark"] or "", crop)


def _loosely(name: str) -> str:
    """Letters and digits alone, whatever stands between them."""
    return "/".join(re.sub(r"[^0-9A-Za-z]+", "_", part) for part in unquote(name).split("/"))
