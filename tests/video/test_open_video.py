"""Frame i is frame i of a sequential decode, in every container and codec that people have."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from video_clips import NAMES
from videos import frame_number, sequential

from vad.errors import VideoError
from vad.video import open_video
from vad.video.decoder import Decoder
from vad.video.verdict import load_verdict

Clip = Callable[[str], Path]


def assert_reads_as_sequential(path: Path) -> None:
    expected = sequential(path)
    with open_video(path) as reader:
        assert len(reader) == len(expected)
        assert reader.size == expected.shape[2:0:-1]
        draw = np.random.default_rng(0)
        for index in draw.permutation(len(expected))[:12].tolist():
            assert np.array_equal(reader.frames([index])[0], expected[index]), f"frame {index} alone"
        orders = {
            "backwards": np.arange(len(expected))[::-1],
            "shuffled with repeats": draw.permutation(np.repeat(np.arange(len(expected)), 2)),
            "clip": np.arange(max(0, len(expected) - 20), max(0, len(expected) - 20) + 16).clip(max=len(expected) - 1),
            "every fifth": np.arange(0, len(expected), 5),
        }
        for name, order in orders.items():
            assert np.array_equal(reader.frames(order), expected[order]), name
        for index, (picture, same) in enumerate(zip(reader, expected, strict=True)):
            assert np.array_equal(picture, same), f"frame {index} of an iteration"


@pytest.mark.parametrize("name", NAMES)
def test_frame_i_is_frame_i_of_a_sequential_decode(name: str, clip: Clip) -> None:
    assert_reads_as_sequential(clip(name))


@pytest.mark.parametrize(
    ("name", "first", "count"),
    [
        ("h264_b.mp4", 0, 60),
        ("h264_b.avi", 0, 60),
        ("h264.ts", 0, 60),
        ("mpeg2.mpg", 0, 60),
        ("variable.mp4", 0, 60),
        ("doubled_times.mkv", 0, 60),
        ("edit_list.mp4", 5, 55),
        ("edit_list_open.mp4", 17, 43),
        ("cut_on_key.avi", 12, 48),
    ],
)
def test_the_picture_carries_the_number_of_the_frame(name: str, first: int, count: int, clip: Clip) -> None:
    reader = open_video(clip(name))
    numbers = [frame_number(reader.frames([index])[0]) for index in range(len(reader))]
    assert numbers == list(range(first, first + count))


@pytest.mark.parametrize(("name", "turns"), [("rotated_90.mp4", 1), ("rotated_180.mov", 2), ("rotated_270.mp4", 3)])
def test_a_rotated_picture_is_turned_and_the_size_is_that_of_the_turned_picture(
    name: str, turns: int, clip: Clip
) -> None:
    reader = open_video(clip(name))
    assert reader.size == ((96, 160) if turns % 2 else (160, 96))
    assert frame_number(np.rot90(reader.frames([37])[0], -turns)) == 37


def test_decord_turns_rotated_pictures_the_same_way(clip: Clip) -> None:
    decord = pytest.importorskip("decord")
    path = clip("rotated_90.mp4")
    theirs = decord.VideoReader(str(path), num_threads=1)[0].asnumpy()
    assert np.array_equal(theirs, open_video(path).frames([0])[0])


@pytest.mark.parametrize("name", NAMES)
def test_decord_reads_the_same_frames_or_is_refused(name: str, clip: Clip) -> None:
    pytest.importorskip("decord")
    path = clip(name)
    reader = open_video(path)
    if reader.reasons:
        with pytest.raises(VideoError, match="not to be read with decord"):
            open_video(path, backend="decord")
        return
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(len(reader)), 2))
    with open_video(path, backend="decord") as other:
        assert len(other) == len(reader)
        assert other.backend == "decord"
        for start in range(0, len(order), 16):
            assert np.array_equal(other.frames(order[start : start + 16]), reader.frames(order[start : start + 16]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("h264_b.avi", "B-frames"),
        ("h264_open.mp4", "open GOP"),
        ("h264_refresh.mp4", "intra refresh"),
        ("hevc.mp4", "open GOP"),
        ("mpeg4_b.mp4", "open GOP"),
        ("av1.mp4", "av1"),
        ("vp9.webm", "vp9"),
        ("h264.ts", "mpegts"),
        ("mpeg2.mpg", "mpeg"),
        ("h264.h264", "without a time"),
        ("doubled_times.mkv", "same time"),
        ("edit_list.mp4", "edit list"),
        ("rotated_90.mp4", "rotation"),
    ],
)
def test_the_reasons_against_decord_are_told(name: str, reason: str, clip: Clip) -> None:
    assert any(reason in told for told in open_video(clip(name)).reasons)


def counted(monkeypatch: pytest.MonkeyPatch, method: str) -> list[None]:
    calls: list[None] = []
    original = getattr(Decoder, method)

    def count(self: Decoder, *arguments: object) -> object:
        calls.append(None)
        return original(self, *arguments)

    monkeypatch.setattr(Decoder, method, count)
    return calls


def test_clips_in_order_do_not_seek(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    seeks = counted(monkeypatch, "seek")
    with open_video(clip("h264_long.mp4")) as reader:
        for start in range(0, 96, 8):
            reader.frames(range(start, start + 6))
    assert not seeks


def test_unordered_indices_decode_each_group_of_pictures_once(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    packets, seeks = counted(monkeypatch, "_push"), counted(monkeypatch, "seek")
    with open_video(clip("h264_b.mp4")) as reader:
        reader.frames([59, 3, 50, 1, 58, 3, 49, 0])
    assert len(seeks) == 1  # to the last of five key frames
    assert len(packets) <= 3 + 12 + 2 * 4  # two groups as far as needed, and what the decoder holds back


def test_a_file_that_is_read_from_its_start_keeps_recent_frames(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    seeks = counted(monkeypatch, "seek")
    with open_video(clip("h264.ts")) as reader:
        assert reader.backend == "pyav-sequential"
        reader.frames(range(20, 40))
        reader.frames(range(24, 44))  # overlaps
        assert not seeks
        reader.frames([2])
        assert len(seeks) == 1


def test_a_seek_that_lands_elsewhere_is_noticed_and_the_frames_stay_right(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clip("h264_b.mp4")
    expected = sequential(path)
    monkeypatch.setattr(Decoder, "_find", lambda self, packet: 10**9)  # no packet is the one that was looked for
    with open_video(path) as reader:
        assert np.array_equal(reader.frames([55, 4, 30]), expected[[55, 4, 30]])


def test_the_second_opening_reads_the_verdict_and_not_the_file(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip("h264_b.avi")
    first = open_video(path)
    kept = load_verdict(path)
    assert kept is not None and kept.frames == len(first)
    monkeypatch.setattr("vad.video.examine.scan", lambda path: pytest.fail("the file was read again"))
    assert len(open_video(path)) == len(first)


@pytest.mark.parametrize("indices", [[60], [-1], [0.5], [[0, 1]]])
def test_a_frame_that_does_not_exist_is_an_index_error(indices: list, clip: Clip) -> None:
    with pytest.raises(IndexError, match=r"h264_b\.mp4"):
        open_video(clip("h264_b.mp4")).frames(indices)


def test_no_indices_give_no_frames(clip: Clip) -> None:
    assert open_video(clip("h264_b.mp4")).frames([]).shape == (0, 96, 160, 3)


def test_a_missing_file_is_a_video_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"nowhere\.mp4: no such file"):
        open_video(tmp_path / "nowhere.mp4")


FFMPEG_ROWS = {  # what only Debian's ffmpeg writes, and cuts as people make them
    "packed.avi": "-c:v libxvid -bf 2 -g 24 -q:v 4",
    "unpacked.avi": "-c:v libxvid -bf 2 -g 24 -q:v 4 -bsf:v mpeg4_unpack_bframes",
    "raw.avi": "-c:v rawvideo",
    "png.mov": "-c:v png",
    "huffyuv.avi": "-c:v huffyuv",
    "theora.ogv": "-c:v libtheora",
    "program.vob": "-c:v mpeg2video -bf 2",
    "interlaced.ts": "-c:v libx264 -flags +ildct+ilme -x264-params keyint=12:tff=1",
    "wmv2.wmv": "-c:v wmv2",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*FFMPEG_ROWS, *(f"cut_{t}.{s}" for t in ("0.3", "0.77") for s in ("mp4", "mkv", "avi"))]
)
def test_files_of_the_ffmpeg_program_are_read_as_it_reads_them(name: str, clip: Clip, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the ffmpeg program")

    def ffmpeg(*arguments: str) -> bytes:
        return subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True, stdout=subprocess.PIPE).stdout

    path = tmp_path / name
    if name.startswith("cut_"):
        ffmpeg("-ss", name[4 : name.rindex(".")], "-i", str(clip("h264_long.mp4")), "-c", "copy", str(path))
    else:
        ffmpeg("-i", str(clip("ffv1.mkv")), *FFMPEG_ROWS[name].split(), str(path))
    assert_reads_as_sequential(path)
    raw = ffmpeg("-i", str(path), "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    theirs = np.frombuffer(raw, np.uint8).reshape(-1, 96, 160, 3)
    assert [frame_number(picture) for picture in open_video(path)] == [frame_number(picture) for picture in theirs]
