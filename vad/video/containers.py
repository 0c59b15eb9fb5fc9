"""Whether a file is as long as its container says, by its outermost boxes alone.

FFmpeg reads a file that was cut off to its last whole packet and reports the end of a film.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Outermost parts that hold pictures or their index; what else stands at an end (padding, tags) may be cut without harm.
MP4_BOXES = (b"mdat", b"moof", b"moov")
EBML_SEGMENT = b"\x18\x53\x80\x67"


def missing_bytes(path: Path, container: str) -> int:
    """Bytes that the container (by FFmpeg's name) promises beyond the end of the file; 0 where it does not say."""
    parts = {"mov": _mp4_ends, "matroska": _matroska_ends, "avi": _riff_ends}.get(container.split(",")[0])
    if parts is None:
        return 0
    size = path.stat().st_size
    with path.open("rb") as stream:
        return max(0, max(parts(stream, size), default=0) - size)


def _mp4_ends(stream: BinaryIO, size: int) -> Iterator[int]:
    position = 0
    while position + 8 <= size:
        stream.seek(position)
        header = stream.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:  # a 64-bit length follows
            length = int.from_bytes(header[8:16], "big")
        if length < 8:  # 0: to the end of the file
            return
        position += length
        if kind in MP4_BOXES:
            yield position


def _matroska_ends(stream: BinaryIO, size: int) -> Iterator[int]:
    position = 0
    while position + 12 <= size:
        stream.seek(position)
        header = stream.read(12)
        width = 9 - header[4].bit_length()  # of the length: leading zero bits of its first byte, plus one
        if width > 8:
            return
        length = int.from_bytes(header[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if length == (1 << 7 * width) - 1:  # unknown, as live recordings have it
            return
        position += 4 + width + length
        if header[:4] == EBML_SEGMENT:
            yield position
            return


def _riff_ends(stream: BinaryIO, size: int) -> Iterator[int]:
    position = 0
    while position + 8 <= size:  # files above 1 GB go on in further RIFF chunks
        stream.seek(position)
        header = stream.read(8)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF" or length in (0, 0xFFFFFFFF):  # not RIFF any more, or never finished
            return
        position += 8 + length
        yield position
