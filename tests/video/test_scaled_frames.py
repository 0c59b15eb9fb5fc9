"""Frame i at another size is frame i, whatever reads it and whatever was read before."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import frame_number, numbered_picture, sequential

from vad.errors import VideoError
from vad.video import JoinedReader, VideoReader, open_video, packets
from vad.video.decoder import Decoder
from vad.video.pyav_reader import PyAVReader
from vad.video.resize import resize

Clip = Callable[[str], Path]
HALF = (80, 48)
CLIPS = ["h264_b.mp4", "h264_open.mp4", "h264_10bit.mp4", "h264_444.mp4", "hevc.mp4", "mpeg4_b.avi", "mjpeg.avi"]
CLIPS += ["vp9.webm", "h264.ts", "ffv1.mkv"]


@pytest.fixture(params=["pyav", "pyav-sequential", "decord", "folder", "joined"])
def reader(request: pytest.FixtureRequest, clip: Clip, tmp_path: Path) -> VideoReader:
    """60 numbered frames of 160 x 96, by each kind of reader."""
    path = clip("h264_b.mp4")
    if request.param == "decord":
        pytest.importorskip("decord")
        return open_video(path, backend="decord")
    if request.param == "folder":
        for number in range(60):
            Image.fromarray(numbered_picture(number)).save(tmp_path / f"{number}.png")
        return open_video(tmp_path)
    if request.param == "joined":
        return JoinedReader([open_video(path), open_video(clip("h264.ts"))], [(0, 30), (30, 60)])
    return open_video(clip("h264.ts") if request.param == "pyav-sequential" else path)


def grey_levels_apart(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference of luma; colour is stored at half the size, and scaled from there by FFmpeg alone."""
    return float(np.abs((one - other.astype(int)) @ (0.299, 0.587, 0.114)).mean())


def test_every_reader_gives_the_frames_asked_for_in_that_order_and_size(reader: VideoReader) -> None:
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(60), 2))
    pictures = reader.frames(order, size=HALF)
    assert (pictures.shape, pictures.dtype) == ((120, 48, 80, 3), np.uint8)
    assert [frame_number(picture) for picture in pictures] == order.tolist()
    assert reader.frames([3], size=(200, 60)).shape == (1, 60, 200, 3)
    assert frame_number(reader.frames([41], size=(200, 60))[0]) == 41
    assert reader.frames([], size=HALF).shape == (0, 48, 80, 3)
    assert reader.size == (160, 96)


def test_every_reader_gives_its_own_size_as_ever(reader: VideoReader) -> None:
    small = reader.frames([7, 30], size=HALF)
    own = reader.frames([30, 7, 30])
    assert np.array_equal(reader.frames([30, 7, 30], size=(160, 96)), own)
    assert np.array_equal(reader.frames([7, 30], size=HALF), small)


def test_every_reader_shrinks_alike(reader: VideoReader) -> None:
    expected = np.stack([resize(picture, HALF) for picture in reader.frames(range(60))])
    # FFmpeg's area filter is 2.3 apart here, its bicubic one 1.7.
    assert grey_levels_apart(reader.frames(range(60), size=HALF), expected) < 1


@pytest.mark.parametrize("size", [(0, 48), (80, -1)])
def test_a_size_without_pixels_is_refused(size: tuple[int, int], reader: VideoReader) -> None:
    with pytest.raises(ValueError, match="cannot be stretched to"):
        reader.frames([0], size=size)


@pytest.mark.parametrize("name", CLIPS)
def test_a_small_frame_is_the_same_whatever_was_read_before(name: str, clip: Clip) -> None:
    with open_video(clip(name)) as reader:
        expected = reader.frames(range(len(reader)), size=HALF)
    assert [frame_number(picture) for picture in expected] == list(range(60))
    with open_video(clip(name)) as reader:
        draw = np.random.default_rng(0)
        for index in draw.permutation(60)[:12].tolist():
            assert np.array_equal(reader.frames([index], size=HALF)[0], expected[index])
            reader.frames(draw.integers(0, 60, 2))  # of its own size, in between
        assert np.array_equal(reader.frames(np.arange(60)[::-1], size=HALF), expected[::-1])


def test_a_decode_that_is_checked_against_checksums_gives_the_same_small_frames(clip: Clip) -> None:
    with PyAVReader(clip("h264_b.mp4"), open_video(clip("h264_b.mp4")).verdict) as reader:
        expected = reader.frames([20, 40], size=HALF)
        reader._take_checksums()
        reader._forget()
        assert np.array_equal(reader.frames([20, 40], size=HALF), expected)
        reader.verdict.checksum[40] ^= 1
        reader._forget()
        with pytest.raises(VideoError, match="frame 40 is not what the first decode of the file gave"):
            reader.frames([40], size=HALF)


@pytest.mark.parametrize(("name", "turns"), [("rotated_90.mp4", 1), ("rotated_180.mov", 2), ("rotated_270.mp4", 3)])
def test_a_rotated_picture_is_stretched_as_it_is_shown(name: str, turns: int, clip: Clip) -> None:
    reader = open_video(clip(name))
    size = (48, 96) if turns % 2 else (80, 64)
    (picture,) = reader.frames([37], size=size)
    assert picture.shape == (size[1], size[0], 3)
    assert frame_number(np.rot90(picture, -turns)) == 37
    assert grey_levels_apart(picture, resize(reader.frames([37])[0], size)) < 1


def test_no_picture_is_made_but_the_small_ones(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, ...]] = []
    to_rgb = packets.to_rgb
    monkeypatch.setattr(
        packets, "to_rgb", lambda frame, out, *rest: made.append(out.shape) or to_rgb(frame, out, *rest)
    )
    with open_video(clip("h264_b.mp4")) as reader:
        reader.frames([5, 11, 40], size=HALF)
    assert made == [(48, 80, 3)] * 3


def test_small_clips_in_order_do_not_seek(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "seek", lambda self, start: pytest.fail("it went back"))
    with open_video(clip("h264_b.mp4")) as reader:
        for start in range(0, 60, 6):
            reader.frames(range(start, start + 6), size=HALF)


def test_recent_frames_of_a_file_that_is_read_from_its_start_are_kept_by_size(
    clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_video(clip("h264.ts")) as reader:
        expected = {size: reader.frames(range(24, 44), size=size) for size in (HALF, (40, 24))}
    with open_video(clip("h264.ts")) as reader:
        assert reader.backend == "pyav-sequential"
        reader.frames(range(20, 40), size=HALF)
        seeks: list[int] = []
        monkeypatch.setattr(Decoder, "seek", lambda self, start: seeks.append(start) or self.close() or self._open())
        assert np.array_equal(reader.frames(range(24, 44), size=HALF), expected[HALF])
        assert not seeks
        assert np.array_equal(reader.frames(range(24, 44), size=(40, 24)), expected[40, 24])


def test_a_joined_video_is_scaled_once(clip: Clip) -> None:
    inner = open_video(clip("h264_odd_width.mp4"))
    joined = JoinedReader([open_video(clip("h264_odd_width.mp4"))], [(5, 9)], size=(64, 48))
    assert np.array_equal(joined.frames([0, 3], size=HALF), inner.frames([5, 8], size=HALF))
    whole = sequential(clip("h264_odd_width.mp4"))[5]
    assert np.array_equal(joined.frames([0], size=(64, 48))[0], resize(whole, (64, 48)))
