"""How fast is the reader? Frames per second against decord, PyAV and ffmpeg called directly (P1, P2 of `make bench`).

    python experiments/speed/reader.py

It encodes its own footage (854 x 480, 200 frames, textured and noisy), checks every frame that a contender gives
against a sequential decode, and prints ratios of medians over interleaved repeats with their spread; above 1 the reader
is the faster one. A contender that gives wrong frames is named and left out. One thread decodes everywhere, so seconds
are CPU seconds of this process and its children: what else runs on the machine does not count.

P1 asks for >= 0.95 of the better of decord and PyAV on random clips of 16 frames and >= 1.3 on unordered indices, P2
for >= 0.85 of what decoding from the key frame before each clip costs at least.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vad.video import open_video

FRAMES, WIDTH, HEIGHT, CLIP = 200, 854, 480, 16
Read = Callable[[np.ndarray], np.ndarray]  # indices (n,) -> uint8 (n, h, w, 3)


def write_footage(path: Path, codec: str, gop: int, **options: str) -> Path:
    """A camera that pans over blurred texture, with noise: about as hard to decode as real footage."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 255, (HEIGHT // 8 + 12, WIDTH // 8 + 60, 3), np.uint8).astype(np.float32)
    texture = coarse.repeat(8, 0).repeat(8, 1)
    for axis in (0, 1):
        texture = sum(np.roll(texture, shift, axis) for shift in range(8)) / 8
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = (
            {"x264-params": f"keyint={gop}:min-keyint={gop}:bframes=3", "preset": "veryfast"}
            if codec == "libx264"
            else options
        )
        for number in range(FRAMES):
            x, y = int(1.3 * number), int(30 + 25 * np.sin(number / 9))
            picture = texture[y : y + HEIGHT, x : x + WIDTH] + draw.normal(0, 3, (HEIGHT, WIDTH, 3))
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def pyav_direct(path: Path) -> Read:
    """What one writes with PyAV: a list of pts, a seek to the key frame, decoding on to the frames asked for."""
    container = av.open(str(path))
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    times = sorted(packet.pts for packet in container.demux(stream) if packet.size and packet.pts is not None)

    def run(indices: np.ndarray) -> list[np.ndarray]:
        container.seek(times[indices[0]], stream=stream, backward=True)
        wanted, found = {times[i] for i in indices}, []
        for frame in container.decode(stream):
            if frame.pts in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
                if len(found) == len(wanted):
                    break
        missing = np.zeros((HEIGHT, WIDTH, 3), np.uint8)  # a time that never comes by: no frame of the footage is black
        return found + [missing] * (len(wanted) - len(found))

    def read(indices: np.ndarray) -> np.ndarray:
        if (np.diff(indices) == 1).all():
            return np.stack(run(indices))
        return np.stack([run(indices[k : k + 1])[0] for k in range(len(indices))])

    return read


def decord_direct(path: Path) -> Read | None:
    """decord's get_batch, or `None` where decord is not installed."""
    try:
        import decord
    except ImportError:
        return None
    reader = decord.VideoReader(str(path), num_threads=1)
    return lambda indices: reader.get_batch(indices.tolist()).asnumpy()


def clock() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def seconds(read: Read, requests: Sequence[np.ndarray]) -> float:
    """CPU seconds of all requests."""
    start = clock()
    for indices in requests:
        read(indices)
    return clock() - start


def spread(values: Sequence[float]) -> str:
    """Median and range of ratios."""
    return f"{np.median(values):5.2f}  ({min(values):.2f} to {max(values):.2f})"


def versus(path: Path, requests: Sequence[np.ndarray], repeats: int, label: str) -> None:
    """Print the ratio to each contender that gives the right frames, and to the better one."""
    truth = np.stack(list(open_video(path)))
    contenders: dict[str, Read] = {"PyAV": pyav_direct(path)}
    if (decord_read := decord_direct(path)) is not None:
        contenders["decord"] = decord_read
    contenders["vad"] = open_video(path).frames
    wrong = []
    for name, read in list(contenders.items()):  # this is the warm-up as well
        if not all(np.array_equal(read(indices), truth[indices]) for indices in requests):
            wrong.append(name)
            del contenders[name]
    if "vad" in wrong:
        raise SystemExit(f"{path.name}: the reader gave wrong frames")
    taken = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, read in contenders.items():
            taken[name].append(seconds(read, requests))
    others = [name for name in contenders if name != "vad"]
    rate = sum(map(len, requests)) / float(np.median(taken["vad"]))
    print(f"{label}, {path.name}: {rate:.0f} frames/s" + (f"; wrong frames from {', '.join(wrong)}" if wrong else ""))
    for name in others:
        print(f"    to {name:<22}{spread(np.divide(taken[name], taken['vad']))}")
    if len(others) > 1:
        print(f"    to the better of them   {spread(np.divide(np.min([taken[n] for n in others], 0), taken['vad']))}")


def long_gop(path: Path, repeats: int, label: str) -> None:
    """Print the ratio to the least that random clips cost: decoding from the key frame on, converting what is asked."""
    starts = np.random.default_rng(2).integers(0, FRAMES - CLIP, 12)
    requests = [np.arange(start, start + CLIP) for start in starts]
    with av.open(str(path)) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.size and packet.is_keyframe]
    decoded = sum(start + CLIP - max(key for key in keys if key <= start) for start in starts)
    reader, ratios = open_video(path), []
    reader.frames(requests[0])
    for _ in range(repeats):
        bare, whole = sequential_seconds(path, convert=False), sequential_seconds(path, convert=True)
        bound = (bare * decoded + (whole - bare) * CLIP * len(starts)) / FRAMES
        ratios.append(bound / seconds(reader.frames, requests))
    print(f"{label}, {path.name}: to the bound by key-frame distance\n    {'':<25}{spread(ratios)}")


def sequential_seconds(path: Path, *, convert: bool) -> float:
    """CPU seconds of a plain decode with PyAV, with or without conversion to RGB."""
    start = clock()
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            if convert:
                frame.to_ndarray(format="rgb24")
    return clock() - start


def ffmpeg_seconds(path: Path) -> float:
    """CPU seconds of `ffmpeg -f null` with one thread."""
    start = clock()
    subprocess.run(["ffmpeg", "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"], check=True)
    return clock() - start


def iteration(path: Path, repeats: int) -> None:
    """Print the ratio of a whole iteration to PyAV with RGB arrays, and to `ffmpeg -f null`, which converts nothing."""
    ours, theirs, plain = [], [], []
    for _ in range(repeats):
        start = clock()
        count = sum(1 for _ in open_video(path))
        ours.append(clock() - start)
        theirs.append(sequential_seconds(path, convert=True))
        if shutil.which("ffmpeg"):
            plain.append(ffmpeg_seconds(path))
    print(f"all frames in order, {path.name}: {count / np.median(ours):.0f} frames/s")
    print(f"    to PyAV                  {spread(np.divide(theirs, ours))}")
    if plain:
        print(f"    to ffmpeg -f null        {spread(np.divide(plain, ours))}")


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    draw = np.random.default_rng(1)
    clips = [np.arange(start, start + CLIP) for start in draw.integers(0, FRAMES - CLIP, 8)]
    unordered = [draw.permutation(FRAMES)[:32]]
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write_footage(Path(folder) / "gop12.mp4", "libx264", 12),
            write_footage(Path(folder) / "gop50.mp4", "libx264", 50),
            write_footage(Path(folder) / "b_frames.avi", "libx264", 12),
            write_footage(Path(folder) / "mjpeg.avi", "mjpeg", 1),
        ]
        long = write_footage(Path(folder) / "gop250.mp4", "libx264", 250)
        for path in paths:
            versus(path, clips, repeats, "P1 clips of 16")
        for path in paths:
            versus(path, unordered, repeats, "P1 32 unordered")
        versus(long, clips, repeats, "P2 clips of 16")
        long_gop(long, repeats, "P2 clips of 16")
        iteration(paths[1], repeats)


if __name__ == "__main__":
    main()
