"""One look at the packets of a file: which frame does each give, and where may decoding start?

demux -> packets (pts, key, position) -> are the times true? -> yes: frames in the order of pts, 24 packets decoded
                                                             -> no: one full decode tells the order
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import VideoReformatter

from vad.errors import VideoError
from vad.video import bitstream, packets
from vad.video.containers import missing_bytes
from vad.video.verdict import Access, Verdict

if TYPE_CHECKING:
    from av.video.stream import VideoStream

TRUE_TIMES = ("mov", "matroska", "flv", "asf")  # containers whose pts are those of the pictures
SEEKABLE = (*TRUE_TIMES, "avi")  # containers in which a packet can be reached by its time
TRIAL = 24  # packets decoded to see that the decoder's order is that of pts: more than the longest reordering (16)


@dataclass
class Scan:
    """What demuxing alone shows, one entry for each video packet."""

    container: str
    codec: str
    pixels: str  # FFmpeg's name of the pixel format
    fps: float | None
    stated: int  # packets by the index that the container holds, which may be none or a part
    has_b_frames: bool
    interlaced: bool
    pts: np.ndarray  # int64
    dts: np.ndarray  # int64
    position: np.ndarray  # int64
    length: np.ndarray  # int32
    key: np.ndarray  # bool, by the container
    start: np.ndarray  # bool, by the bitstream
    closed: np.ndarray  # bool, true IDR pictures
    discarded: np.ndarray  # bool, by an edit list
    corrupt: np.ndarray  # bool, by the demuxer
    pictures: np.ndarray  # int8: 1, 0 for a packet without a picture, -1 where only a decode can tell


def scan(path: Path) -> Scan:
    """Read every packet of the first video stream; nothing is decoded."""
    rows: list[tuple] = []
    with packets.errors_name(path):
        container, stream = packets.open_stream(path)
        with container:
            codec, rate = stream.codec_context.codec.canonical_name, stream.average_rate or stream.guessed_rate
            prefix = bitstream.length_prefix(codec, stream.codec_context.extradata)
            for packet in packets.read_packets(container, stream):
                if not packet.size:
                    continue
                data = bytes(packet) if packet.is_keyframe or codec in ("vp8", "vp9", "mpeg4") else b""
                start = packet.is_keyframe and bitstream.starts_decoding(codec, data, prefix)
                closed = start and bitstream.is_closed(codec, data, prefix)
                shows = bitstream.shows_one_picture(codec, data)
                rows.append(
                    (
                        Verdict.NO_TIME if packet.pts is None else packet.pts,
                        Verdict.NO_TIME if packet.dts is None else packet.dts,
                        -1 if packet.pos is None else packet.pos,
                        packet.size,
                        packet.is_keyframe,
                        start,
                        closed,
                        packet.is_discard,
                        packet.is_corrupt,
                        -1 if shows is None else int(shows),
                    )
                )
            if not rows:
                raise VideoError(path, "holds no packet of video")
            columns = list(zip(*rows, strict=True))
            kinds = (np.int64, np.int64, np.int64, np.int32, bool, bool, bool, bool, bool, np.int8)
            return Scan(
                container.format.name,
                codec,
                stream.codec_context.pix_fmt or "unknown",
                float(rate) if isinstance(rate, Fraction) and rate > 0 else None,
                len(stream.index_entries),
                stream.codec_context.has_b_frames,
                _is_interlaced(stream),
                *(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)),
            )


def _is_interlaced(stream: "VideoStream") -> bool:
    return int(stream.codec_context.field_order) > 1  # 0 unknown, 1 progressive


def examine(path: Path) -> Verdict:
    """Scan a file, and decode as little of it as proves the order of its frames.

    Raises `VideoError` where packets are missing that the header promises, or one cannot be decoded.
    """
    found = scan(path)
    if missing := missing_bytes(path, found.container):
        raise VideoError(path, f"is cut off: {missing} bytes are missing at its end; get the whole file")
    if found.stated > len(found.pts):
        raise VideoError(
            path, f"is cut off: its index lists {found.stated} frames, it holds {len(found.pts)}; get the whole file"
        )
    if found.corrupt.any():
        raise VideoError(path, f"is damaged: packet {int(found.corrupt.argmax())} is marked as corrupt")
    doubts = time_doubts(found)
    by_time = None if doubts else number_by_time(found)
    decoded = decode_numbers(path, len(found.pts), expected=by_time)
    number = decoded.number
    if by_time is not None and not np.array_equal(number, by_time):
        doubts = ["the decoder does not give frames in the order of their times"]
    start = reachable_starts(found, number)
    access: Access = "any" if not doubts else "seek" if np.count_nonzero(start) > 1 else "sequential"
    reasons = tuple(doubts or decord_doubts(found, number, decoded.turns))
    return Verdict(
        container=found.container,
        codec=found.codec,
        size=decoded.size,
        rotation=decoded.turns,
        fps=found.fps,
        access="seek" if access == "any" and reasons else access,
        reasons=reasons,
        number=number,
        start=start,
        position=found.position,
        length=found.length,
        pts=found.pts,
        dts=found.dts,
        checksum=decoded.checksum,
    )


def time_doubts(found: Scan) -> list[str]:
    """Why frames cannot be numbered by their times alone."""
    doubts = []
    kind = found.container.split(",")[0]
    if kind not in TRUE_TIMES and not (kind == "avi" and not found.has_b_frames):
        doubts.append(f"times in {kind} are not those of the pictures" + (" (B-frames)" if kind == "avi" else ""))
    if (found.pts == Verdict.NO_TIME).any():
        doubts.append("packets without a time")
    elif len(np.unique(found.pts)) < len(found.pts):
        doubts.append("several packets of the same time")
    elif found.start[0] and (found.pts < found.pts[0]).any() and not found.discarded.any():
        doubts.append("frames at the start that need what was cut off")
    if not found.start[0]:
        doubts.append("does not start with a key frame")
    if found.interlaced:
        doubts.append("interlaced: a packet may hold one field")
    if (found.pictures < 0).any():
        doubts.append("packets that may hold no picture, or two")
    return doubts


def number_by_time(found: Scan) -> np.ndarray:
    """The frame of each packet, int32 (packets,): the rank of its pts among those shown; -1 for what is not shown."""
    shown = np.flatnonzero(~found.discarded & (found.pictures > 0))
    number = np.full(len(found.pts), -1, np.int32)
    number[shown[np.argsort(found.pts[shown])]] = np.arange(len(shown))
    return number


@dataclass(frozen=True)
class Decoded:
    """What decoding from the start showed."""

    size: tuple[int, int]
    turns: int
    number: np.ndarray  # int32 (packets,), the frame of each packet: what was expected, or what a full decode gave
    checksum: np.ndarray  # uint32 (frames,) of a full decode, else (0,)


def decode_numbers(path: Path, count: int, *, expected: np.ndarray | None) -> Decoded:
    """Decode the first of `count` packets, and all if `expected` is `None` or turns out wrong."""
    number = np.full(count, -1, np.int32)
    size, turns = (0, 0), 0
    checksums: list[int] | None = [] if expected is None else None
    frames = ordinal = 0
    with packets.errors_name(path):
        converter = VideoReformatter()
        container, stream = packets.open_stream(path)
        with container:
            for packet in packets.read_packets(container, stream):
                shown = packets.decode(packet, ordinal)
                ordinal += bool(packet.size)
                for frame in shown:
                    if not frames:
                        turns = quarter_turns(path, frame)
                        size = packets.upright_size(frame, turns)
                        picture = np.empty((size[1], size[0], 3), np.uint8)
                    source = frame.pts
                    if source is None or not 0 <= source < count or number[source] >= 0:
                        raise VideoError(path, f"frame {frames} cannot be traced to a packet of the file")
                    if packets.upright_size(frame, turns) != size:
                        raise VideoError(path, f"frame {frames} has another size than the first")
                    number[source] = frames
                    if expected is not None and expected[source] != frames:
                        expected = None
                    if checksums is not None:
                        packets.to_rgb(frame, picture, turns, converter)
                        checksums.append(packets.checksum(picture))
                    frames += 1
                if expected is not None and ordinal >= TRIAL and frames:
                    return Decoded(size, turns, expected, np.zeros(0, np.uint32))
    if not frames:
        raise VideoError(path, "holds no frame that can be decoded")
    return Decoded(size, turns, number, np.array(checksums or [], np.uint32))


def quarter_turns(path: Path, frame: object) -> int:
    """Quarter turns counter-clockwise that bring a picture upright."""
    degrees = int(getattr(frame, "rotation", 0))
    if degrees % 90:
        raise VideoError(path, f"is to be shown turned by {degrees} degrees; only quarter turns are supported")
    return degrees // 90 % 4


def reachable_starts(found: Scan, number: np.ndarray) -> np.ndarray:
    """Packets at which decoding may start, bool (packets,): true key frames that a seek can find again, after which
    every later frame is decoded. The first packet always is one."""
    start = np.zeros(len(number), bool)
    start[0] = True
    known = (found.position >= 0).all() and len(np.unique(found.position)) == len(number)
    if found.container.split(",")[0] in SEEKABLE and known:
        before = np.maximum.accumulate(np.concatenate([[-1], number[:-1]]))
        timed = (found.pts != Verdict.NO_TIME) | (found.dts != Verdict.NO_TIME)
        start |= found.start & timed & (number > before)
    return start


def decord_doubts(found: Scan, number: np.ndarray, turns: int) -> list[str]:
    """Why decord's random access or its colours are not to be trusted although the times are true.

    decord 0.6.0 seeks to what the container calls a key frame and counts on from there. Seen here: frames of an earlier
    group without an error from AVI and ASF (also without B-frames), and other colours from pictures of 10 bits.
    """
    doubts = []
    kind = found.container.split(",")[0]
    if kind not in ("mov", "matroska", "flv") and not found.key.all():
        doubts.append(f"decord lands on the wrong key frame in {kind}")
    if found.pixels not in ("yuv420p", "yuvj420p"):
        doubts.append(f"decord's colours of {found.pixels} may differ")
    if found.codec in ("av1", "vp9"):
        doubts.append(f"decord does not read {found.codec} reliably")
    if found.discarded.any():
        doubts.append("an edit list cuts frames")
    if turns:
        doubts.append("rotation")
    if not np.array_equal(found.closed, found.key):
        doubts.append("key frames that are no IDR pictures (open GOP or intra refresh)")
    last_key = np.maximum.accumulate(np.where(found.key, np.arange(len(number)), 0))
    if (found.pts < found.pts[last_key]).any():
        doubts.append("frames after a key frame that are shown before it (open GOP)")
    return doubts
