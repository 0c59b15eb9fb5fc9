"""How long are many files? Kept together, since opening hundreds of verdicts at every start would take seconds."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from vad import files
from vad.errors import VadError, VideoError
from vad.video.reader import open_video
from vad.video.verdict import VERSION


class Length(NamedTuple):
    """What `open_video` says of a file."""

    frames: int
    fps: float | None
    size: tuple[int, int]  # width, height


def lengths(paths: Sequence[Path]) -> dict[Path, Length | VideoError]:
    """The length of each file, or why it cannot be opened.

    What was measured is kept in `$VAD_CACHE/readers/`, one file for each set of folders, by path, size and modification
    time; errors are not.
    """
    folders = sorted({str(path.parent.absolute()) for path in paths})
    place = files.cache_root() / "readers" / f"lengths-{files.hash_json([VERSION, folders], 24)}.json"
    known = _kept(place)
    found: dict[Path, Length | VideoError] = {}
    measured: dict[str, list] = {}
    for path in paths:
        key = str(path.absolute())
        try:
            stat = path.stat()
            state = [stat.st_size, stat.st_mtime_ns]
            if known.get(key, [])[:2] != state:
                with open_video(path) as reader:
                    known[key] = [*state, len(reader), reader.fps, *reader.size]
            measured[key] = known[key]
            frames, fps, *size = known[key][2:]
            found[path] = Length(frames, fps, (size[0], size[1]))
        except OSError as error:
            found[path] = VideoError(path, f"cannot be read ({error.strerror})")
        except VideoError as error:
            found[path] = error
    if measured != _kept(place):
        with suppress(OSError):  # it costs time, and is right, without
            files.write_text(place, json.dumps(measured))
    return found


def _kept(place: Path) -> dict[str, list]:
    """Path -> bytes, modification time, frames, their rate, width, height; nothing from a missing or damaged file."""
    try:
        content = files.read_json(place)
    except VadError:
        return {}
    if not isinstance(content, dict):
        return {}
    return {path: row for path, row in content.items() if isinstance(row, list) and len(row) == 6}
