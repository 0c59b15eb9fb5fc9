"""What one look at the packets of a file says about reading it; kept in `$VAD_CACHE/readers/`."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vad import files

VERSION = 1  # raise it when the same file gives another verdict

Access = Literal["any", "seek", "sequential"]


@dataclass(frozen=True)
class Verdict:
    """Packets are counted in the order of the file, frames in the order of a sequential decode."""

    container: str  # FFmpeg's name of the format
    codec: str
    size: tuple[int, int]  # width, height of the frames as returned, rotation applied
    rotation: int  # quarter turns counter-clockwise that bring a decoded picture upright
    fps: float | None
    access: Access  # "any": decord's random access is right too; "sequential": decoding must begin at the start
    reasons: tuple[str, ...]  # why not "any"
    number: np.ndarray  # int32 (packets,), the frame that a packet gives, -1 for none
    start: np.ndarray  # bool (packets,), decoding from here gives right frames from its own on
    position: np.ndarray  # int64 (packets,), byte position in the file, -1 unknown
    length: np.ndarray  # int32 (packets,), bytes
    pts: np.ndarray  # int64 (packets,), in units of the stream; `NO_TIME` where there is none
    dts: np.ndarray  # int64 (packets,)
    checksum: np.ndarray  # uint32 (frames,), of each frame's RGB where the whole file was decoded, else (0,)

    ARRAYS = ("number", "start", "position", "length", "pts", "dts", "checksum")
    NO_TIME = np.iinfo(np.int64).min

    @property
    def frames(self) -> int:
        """Frames that a sequential decode gives."""
        return int(self.number.max(initial=-1)) + 1

    @property
    def packets(self) -> int:
        """Video packets in the file, shown or not."""
        return len(self.number)

    @property
    def keyframes(self) -> np.ndarray:
        """Packets at which decoding may start, int64."""
        return np.flatnonzero(self.start)


def verdict_path(path: Path) -> Path:
    """Where the verdict of a file is kept."""
    name = hashlib.sha256(str(path.absolute()).encode(errors="surrogateescape")).hexdigest()[:24]
    return files.cache_root() / "readers" / f"{name}.npz"


def _state(path: Path) -> dict[str, int | str]:
    stat = path.stat()
    return {"version": VERSION, "path": str(path.absolute()), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def load_verdict(path: Path) -> Verdict | None:
    """The verdict that was kept for a file in this state; `None` where there is none, or it is damaged."""
    try:
        with np.load(verdict_path(path), allow_pickle=False) as stored:
            header = json.loads(stored["header"].tobytes())
            if header["file"] != _state(path):
                return None
            return Verdict(
                size=(header["width"], header["height"]),
                reasons=tuple(header["reasons"]),
                **{name: header[name] for name in ("container", "codec", "rotation", "fps", "access")},
                **{name: stored[name] for name in Verdict.ARRAYS},
            )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        SyntaxError,
        ArithmeticError,
        RuntimeError,
        ImportError,
    ):
        return None  # it costs one look at the file to make it anew
    except Exception as error:  # zipfile and zlib have errors of their own
        if type(error).__module__ in ("zipfile", "zlib"):
            return None
        raise


def keep_verdict(path: Path, verdict: Verdict) -> None:
    """Write the verdict; where the cache cannot be written the next opening looks at the packets again."""
    header = {
        "file": _state(path),
        "width": verdict.size[0],
        "height": verdict.size[1],
        "reasons": list(verdict.reasons),
        **{name: getattr(verdict, name) for name in ("container", "codec", "rotation", "fps", "access")},
    }
    text = np.frombuffer(json.dumps(header, ensure_ascii=True).encode(), np.uint8)
    with suppress(OSError), files.atomic_write(verdict_path(path)) as stream:
        np.savez(stream, header=text, **{name: getattr(verdict, name) for name in Verdict.ARRAYS})
