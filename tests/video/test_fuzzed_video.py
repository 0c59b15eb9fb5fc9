"""Mutated files: no hang, no crash, every error names the file, and no frame differs from a sequential decode.

H.264 has no checksums: where a header is damaged so that it is a header still, FFmpeg may notice nothing, and what it
makes of the pictures behind it depends on where it began and on what it left out. That is rare, and counted here.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from videos import write_clip

from vad.errors import VideoError
from vad.video import open_video, packets
from vad.video.pyav_reader import PyAVReader

Clip = Callable[[str], Path]
SOURCES = {
    "mp4": ("h264_b.mp4", {}),
    "mkv": ("open.mkv", {"options": {"x264-params": "keyint=12:bframes=3:open-gop=1"}}),
    "avi": ("mpeg4_b.avi", {"codec": "mpeg4"}),
    "h264_avi": ("h264_b.avi", {}),
    "ts": ("h264.ts", {}),
    "webm": ("vp9.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}}),
    "flv": ("h264.flv", {}),
    "mpg": ("mpeg2.mpg", {"codec": "mpeg2video", "container": "mpeg"}),
    "hevc": ("hevc.mp4", {"codec": "libx265"}),
}
H264 = ("mp4", "mkv", "h264_avi", "ts", "flv")
FRAMES, SIZE = 40, (96, 64)


def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """Bytes flipped, blocks zeroed, doubled or filled with noise, the end cut; one to three of these."""
    changed = bytearray(content)
    for _ in range(draw.integers(1, 4)):
        kind, place = draw.integers(6), int(draw.integers(len(changed)))
        block = int(draw.integers(1, 400))
        if kind == 0:
            changed[place] ^= 1 << int(draw.integers(8))
        elif kind == 1:
            for position in draw.integers(0, len(changed), 12).tolist():
                changed[position] ^= 1 << int(draw.integers(8))
        elif kind == 2:
            changed[place : place + block] = bytes(len(changed[place : place + block]))
        elif kind == 3:
            changed[place:place] = changed[place : place + block]
        elif kind == 4:
            changed[place : place + block] = draw.bytes(len(changed[place : place + block]))
        else:
            del changed[max(place, 64) :]
    return bytes(changed)


def forgiving_decode(path: Path) -> dict[int, np.ndarray]:
    """Every picture of a decode from the start that goes on after errors, by the packet that it came from."""
    import av

    pictures: dict[int, np.ndarray] = {}
    container, stream = packets.open_stream(path, strict=False)
    with container:
        for ordinal, packet in enumerate(packets.read_packets(container, stream)):
            try:
                for frame in packets.decode(packet, ordinal):
                    pictures[frame.pts] = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            except (av.FFmpegError, EOFError):
                continue
    return pictures


def outcome(path: Path, draw: np.random.Generator) -> str:
    """Read a mutated file in all ways.

    "refused", "broken" where a part is an error, "differs" where a frame is not that of a sequential decode, or
    "whole".
    """
    result = "whole"
    try:
        reader = open_video(path)
    except VideoError as error:
        assert path.name in str(error)
        return "refused"
    assert isinstance(reader, PyAVReader)
    frames: list[np.ndarray] = []
    try:
        for picture in reader:
            frames.append(picture)
        assert len(frames) == len(reader)
    except VideoError as error:
        assert path.name in str(error)
        result = "broken"
    reference = None if result == "whole" else forgiving_decode(path)
    packet_of = {int(n): p for p, n in enumerate(reader.verdict.number) if n >= 0}
    for indices in [[int(i)] for i in draw.permutation(len(reader))[:12]] + [
        draw.permutation(len(reader))[:8].tolist()
    ]:
        try:
            pictures = reader.frames(indices)
        except VideoError as error:
            assert path.name in str(error)
            assert result == "broken", f"frames {indices} are an error, a sequential decode is none: {error}"
            continue
        for index, picture in zip(indices, pictures, strict=True):
            expected = frames[index] if index < len(frames) else (reference or {}).get(packet_of[index], picture)
            if not np.array_equal(picture, expected):
                return "differs"
    reader.close()
    return result


def fuzz(kind: str, folder: Path, count: int, seed: int) -> dict[str, int]:
    name, arguments = SOURCES[kind]
    content = write_clip(folder / name, frames=FRAMES, size=SIZE, **arguments).read_bytes()
    counts = {"refused": 0, "broken": 0, "differs": 0, "whole": 0}
    for number in range(count):
        draw = np.random.default_rng([seed, number])
        path = folder / f"{number}_{name}"
        path.write_bytes(mutated(content, draw))
        try:
            counts[outcome(path, draw)] += 1
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}, number {number}: {error!r}") from error
        path.unlink()
    assert counts["differs"] <= (max(1, count // 200) if kind in H264 else 0), counts
    return counts


@pytest.mark.parametrize("kind", SOURCES)
def test_a_mutated_file_gives_right_frames_or_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    counts = fuzz(kind, tmp_path, count=24, seed=0)
    assert sum(counts.values()) == 24
    assert counts["refused"] + counts["broken"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_many_mutated_files_give_right_frames_or_an_error_that_names_them(kind: str, tmp_path: Path) -> None:
    assert sum(fuzz(kind, tmp_path, count=600, seed=1).values()) == 600
