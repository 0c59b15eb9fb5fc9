"""Opening a file with FFmpeg, and decoding it so that every picture names the packet that it came from."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vad.errors import VideoError

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

# Containers of footage. The list also keeps FFmpeg from opening playlists, which name other files, and text.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,asf_o,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,"
    "ogg,nut,mxf,dv,rm,wtv,swf,gxf,yuv4mpegpipe,mjpeg,gif"
)


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Turn what FFmpeg, PyAV and the system raise into a `VideoError` that names the file."""
    import av

    try:
        yield
    except VideoError:
        raise
    except (av.FFmpegError, OSError, EOFError, ValueError, IndexError, TypeError, MemoryError, OverflowError) as error:
        raise VideoError(path, f"cannot be decoded ({_reason(error)})") from None


def _reason(error: BaseException) -> str:
    """FFmpeg's own words, without the number and the file's name that PyAV puts around them."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(words.split())


def open_stream(path: Path, *, strict: bool = True) -> "tuple[InputContainer, VideoStream]":
    """Open a file and its first video stream.

    Damage inside packets raises if `strict`, and gives a patched picture otherwise. One thread decodes: what is read in
    parallel is read by several processes.
    """
    import av

    container = av.open(
        str(path.absolute()),
        options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
        metadata_errors="replace",
    )
    # A cover of a film is a stream of one picture; it is not the video.
    streams = [s for s in container.streams.video if "attached_pic" not in str(s.disposition.name or "")]
    if not streams:
        container.close()
        raise VideoError(path, "has no video stream")
    stream = streams[0]
    if stream.codec_context is None:
        container.close()
        raise VideoError(path, "holds video that FFmpeg has no decoder for")
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.thread_count = 1
    if strict:
        stream.codec_context.options = {"err_detect": "explode"}
    return container, stream


def read_packets(container: "InputContainer", stream: "VideoStream") -> "Iterator[Packet]":
    """The packets of a stream, and at its end the empty one that drains the decoder.

    AVI writes a frame that repeats the one before it as a packet of no bytes; a decoder would take that for the end.
    """
    for packet in container.demux(stream):
        if packet.size or packet.dts is None:
            yield packet


def decode(packet: "Packet", ordinal: int) -> "list[VideoFrame]":
    """Pictures that come out when a packet goes in; `pts` of each is the ordinal of the packet that it came from.

    Containers without true times (AVI, MPEG-PS) cannot mislead about the order then. The empty packet
    that PyAV gives at the end of a file drains the decoder.
    """
    if packet.size:
        packet.pts = packet.dts = ordinal
    return packet.decode()


def to_rgb(frame: "VideoFrame", out: np.ndarray, turns: int, converter: "VideoReformatter") -> None:
    """Write a picture as RGB into `out` uint8 (h, w, 3), turned counter-clockwise by `turns` quarters.

    A picture of another size is stretched to that of `out` in the same step. Our choice: FFmpeg's bilinear filter,
    which averages where it shrinks as Pillow's does in `resize`: luma was 0.7 grey levels apart on real footage, and 3
    with FFmpeg's area filter. Colours are scaled as they are stored, at half the size, and differ by more at edges.
    """
    height, width = out.shape[1::-1] if turns % 2 else out.shape[:2]
    rgb = converter.reformat(frame, width=width, height=height, format="rgb24", interpolation="BILINEAR", threads=1)
    plane = rgb.planes[0]
    pixels = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]  # PyAV does not type the buffer protocol
    rows = pixels.reshape(rgb.height, plane.line_size)
    picture = rows[:, : rgb.width * 3].reshape(rgb.height, rgb.width, 3)
    out[...] = np.rot90(picture, turns) if turns else picture


def upright_size(frame: "VideoFrame", turns: int) -> tuple[int, int]:
    """Width and height of a picture after `turns` quarter turns."""
    return (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)


def checksum(picture: np.ndarray) -> int:
    """32 bits that tell a contiguous uint8 array from another: CRC-32 of the sums of its blocks of 2 KiB.

    A CRC-32 of all bytes would cost as much as decoding them.
    """
    flat = picture.reshape(-1)
    blocks = flat[: flat.size // 2048 * 2048].view(np.uint64).reshape(-1, 256).sum(axis=1)
    return zlib.crc32(flat[blocks.size * 2048 :].data, zlib.crc32(blocks.data))
