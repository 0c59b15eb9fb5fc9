"""Clips that tests make for themselves: each picture carries its own number as black and white blocks.

from videos import write_clip, frame_number
write_clip(tmp_path / "a.mp4", frames=60)
assert frame_number(open_video(tmp_path / "a.mp4").frames([7])[0]) == 7
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

BITS = 16  # in two rows of eight blocks, over the upper half of the picture


def numbered_picture(number: int, size: tuple[int, int] = (160, 96)) -> np.ndarray:
    """A picture uint8 RGB (h, w, 3): `number` in blocks above, coloured texture that moves below."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        row, column = divmod(bit, BITS // 2)
        top, bottom = row * height // 4, (row + 1) * height // 4
        left, right = column * width * 2 // BITS, (column + 1) * width * 2 // BITS
        picture[top:bottom, left:right] = 255 * (number >> bit & 1)
    y, x = np.mgrid[0 : height - height // 2, 0:width]
    waves = [np.sin((x + 3 * number) / 9), np.sin((y * 2 - number) / 7), np.sin((x + y + 2 * number) / 13)]
    picture[height // 2 :] = np.stack([128 + 100 * wave for wave in waves], -1).astype(np.uint8)
    return picture


def frame_number(picture: np.ndarray) -> int:
    """The number that a picture uint8 RGB (h, w, 3) of `write_clip` carries."""
    height, width = picture.shape[:2]
    number = 0
    for bit in range(BITS):
        row, column = divmod(bit, BITS // 2)
        y, x = (2 * row + 1) * height // 8, (2 * column + 1) * width // BITS
        number |= int(picture[y - 2 : y + 3, x - 2 : x + 3].mean() > 128) << bit
    return number


def write_clip(
    path: str | Path,
    *,
    frames: int = 60,
    codec: str = "libx264",
    size: tuple[int, int] = (160, 96),
    fps: int = 25,
    gop: int = 12,
    b_frames: int = 2,
    pixels: str | None = None,
    options: Mapping[str, str] | None = None,
    container: str | None = None,
    container_options: Mapping[str, str] | None = None,
    rotation: int = 0,
    times: Sequence[int] | None = None,
    first_time: int = 0,
    audio: bool = False,
    picture: Callable[[int, tuple[int, int]], np.ndarray] = numbered_picture,
) -> Path:
    """Encode `frames` numbered pictures with PyAV.

    Args:
        options: Of the encoder, as FFmpeg names them; for libx264 and libx265 they replace `gop` and `b_frames`.
        times: pts of each picture in units of 1 / `fps`; by default 0, 1, 2, ...
        first_time: Added to the times of packets; below 0 an MP4 file gets an edit list that hides the first frames.
        audio: Add a track of silence.
    """
    import av

    path = Path(path)
    with av.open(str(path), "w", format=container, options=dict(container_options or {})) as output:
        stream = output.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = pixels or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        stream.codec_context.thread_count = 1
        if codec in ("libx264", "libx265"):
            name = "x264-params" if codec == "libx264" else "x265-params"
            quiet = "" if codec == "libx264" else ":log-level=none:pools=1:frame-threads=1"
            stream.options = options or {name: f"keyint={gop}:min-keyint={gop}:bframes={b_frames}:scenecut=0{quiet}"}
        else:
            stream.codec_context.gop_size = gop
            if codec in ("mpeg4", "mpeg2video"):
                stream.codec_context.max_b_frames = b_frames
            stream.options = dict(options or {})
        if rotation:
            stream.set_display_rotation(rotation)
        sound = output.add_stream("aac", rate=16000) if audio else None

        def encoded() -> Iterator[av.Packet]:
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
                frame.pts, frame.time_base = (times[number] if times else number), Fraction(1, fps)
                yield from stream.encode(frame)
            yield from stream.encode(None)

        shift = None
        for packet in encoded():
            if first_time:
                shift = shift or int(Fraction(first_time, fps) / packet.time_base)
                packet.pts += shift
                packet.dts += shift
            output.mux(packet)
        if sound is not None:
            write_silence(output, sound, seconds=frames / fps)
    return path


def write_silence(output: object, stream: object, seconds: float) -> None:
    """Encode silence into an audio stream of an open container."""
    import av

    for start in range(0, int(16000 * seconds), 1024):
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = 16000, start, Fraction(1, 16000)
        output.mux(stream.encode(samples))  # type: ignore[attr-defined]
    output.mux(stream.encode(None))  # type: ignore[attr-defined]


def write_audio_only(path: str | Path) -> Path:
    """A file without a video stream."""
    import av

    with av.open(str(path), "w") as output:
        write_silence(output, output.add_stream("aac", rate=16000), seconds=2)
    return Path(path)


def copy_packets(source: str | Path, target: str | Path, keep: Callable[[int, object], bool]) -> Path:
    """Copy the packets of the first video stream for which `keep(ordinal, packet)` holds, without encoding anew."""
    import av

    with av.open(str(source)) as read, av.open(str(target), "w") as output:
        stream = read.streams.video[0]
        copied = output.add_stream_from_template(stream)
        for ordinal, packet in enumerate(p for p in read.demux(stream) if p.size):
            if keep(ordinal, packet):
                packet.stream = copied
                output.mux(packet)
    return Path(target)


def sequential(path: str | Path) -> np.ndarray:
    """The reference: every frame of a plain decode from the start, uint8 RGB (n, h, w, 3), rotation applied."""
    import av

    with av.open(str(path)) as source:
        source.streams.video[0].codec_context.thread_count = 1
        return np.stack([np.rot90(f.to_ndarray(format="rgb24"), f.rotation // 90) for f in source.decode(video=0)])
