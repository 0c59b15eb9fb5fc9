"""A file that cannot be read as a whole is an error that names it; no frame of it is wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from videos import sequential, write_audio_only

from vad.errors import VideoError
from vad.video import decode_check, open_video

Clip = Callable[[str], Path]


def cut(source: Path, folder: Path, share: float) -> Path:
    content = source.read_bytes()
    path = folder / f"cut_{source.name}"
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize(
    "name",
    [
        "h264_b.mp4",
        "h264_faststart.mp4",
        "h264_fragmented.mp4",
        "h264.mov",
        "h264.mkv",
        "vp9.webm",
        "h264_b.avi",
        "mjpeg.avi",
    ],
)
def test_a_file_that_was_cut_off_is_refused(name: str, share: float, clip: Clip, tmp_path: Path) -> None:
    path = cut(clip(name), tmp_path, share)
    with pytest.raises(VideoError, match=f"cut_{name}"):
        open_video(path)


def test_the_frames_that_an_index_promises_are_counted(clip: Clip, tmp_path: Path) -> None:
    path = cut(clip("h264_faststart.mp4"), tmp_path, 0.6)
    with pytest.raises(VideoError, match=r"is cut off: .* bytes are missing at its end"):
        open_video(path)
    path.write_bytes(path.read_bytes().replace(b"mdat", b"free"))  # nothing says how long the pictures should be
    with pytest.raises(VideoError, match=r"cut off: its index lists 60 frames, it holds \d\d"):
        open_video(path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["h264.flv", "h264.ts", "mpeg2.mpg", "mpeg2.ts", "h264.h264"])
def test_where_no_length_is_stated_the_frames_that_are_there_are_right_or_refused(
    name: str, share: float, clip: Clip, tmp_path: Path
) -> None:
    path = cut(clip(name), tmp_path, share)
    whole = sequential(clip(name))
    try:
        with open_video(path) as reader:
            count = len(reader)
            pictures = np.stack(list(reader))
            shuffled = np.random.default_rng(0).permutation(count)
            assert np.array_equal(reader.frames(shuffled), pictures[shuffled])
    except VideoError as error:
        assert path.name in str(error)
    else:  # FFmpeg cannot tell that the last picture of a stream lacks its end
        assert np.array_equal(pictures[: count - 1], whole[: count - 1])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("zeros.mp4", bytes(20_000)),
        ("garbage.mp4", np.random.default_rng(0).bytes(20_000)),
        ("garbage.avi", b"RIFF\xff\xff\xff\xffAVI " + np.random.default_rng(1).bytes(20_000)),
        ("words.mp4", b"These are words, and no video.\n" * 100),
        ("words.txt", b"Frame 1\nFrame 2\n" * 100),  # FFmpeg would show it as a film of letters
        ("list.m3u8", b"#EXTM3U\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile other.mp4\n"),
    ],
)
def test_what_is_no_video_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=name):
        open_video(tmp_path / name)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = write_audio_only(tmp_path / "sound.mp4")
    with pytest.raises(VideoError, match=r"sound\.mp4: has no video stream"):
        open_video(path)


@pytest.fixture
def noisy(clip: Clip, tmp_path: Path) -> Path:
    """H.264 with 300 bytes of noise inside the packets of its third group of pictures."""
    from vad.video.examine import examine

    path = tmp_path / "noisy.mp4"
    content = bytearray(clip("h264_no_b.mp4").read_bytes())
    verdict = examine(clip("h264_no_b.mp4"))
    middle = int(verdict.position[30])
    content[middle + 6 : middle + 306] = np.random.default_rng(0).bytes(300)
    path.write_bytes(content)
    return path


def test_noise_inside_packets_is_an_error_and_no_patched_picture(noisy: Path, clip: Clip) -> None:
    whole = sequential(clip("h264_no_b.mp4"))
    reader = open_video(noisy)
    assert np.array_equal(reader.frames([3, 20, 55]), whole[[3, 20, 55]])  # other groups of pictures
    with pytest.raises(VideoError, match=r"noisy\.mp4"):
        reader.frames(range(24, 40))
    assert np.array_equal(reader.frames([3, 20, 55]), whole[[3, 20, 55]])  # an error does not spoil what follows
    with pytest.raises(VideoError, match=r"noisy\.mp4"):
        list(reader)


def test_a_file_that_changes_while_it_is_read_is_noticed(clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "changed.mp4"
    path.write_bytes(clip("h264_b.mp4").read_bytes())
    reader = open_video(path)
    path.write_bytes(clip("h264_long.mp4").read_bytes())
    with pytest.raises(VideoError, match=r"changed\.mp4: packet 0 is another"):
        reader.frames([0])


def test_a_full_decode_counts_frames(clip: Clip) -> None:
    assert decode_check(clip("edit_list.mp4"), timeout=60) == 55


def test_a_full_decode_tells_what_is_wrong(noisy: Path) -> None:
    with pytest.raises(VideoError, match=r"noisy\.mp4: cannot be decoded"):
        decode_check(noisy, timeout=60)


def test_a_full_decode_that_takes_too_long_is_ended(clip: Clip) -> None:
    with pytest.raises(VideoError, match=r"h264_b\.mp4: was not decoded within 0\.01 s"):
        decode_check(clip("h264_b.mp4"), timeout=0.01)


def test_a_decoder_that_crashes_is_a_video_error(clip: Clip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(VideoError, match=r"h264_b\.mp4: the decoder ended with signal 11"):
        decode_check(clip("h264_b.mp4"), timeout=60)
