"""Several videos as one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import frame_number, sequential

from vad.errors import VideoError
from vad.video import JoinedReader, open_video

Clip = Callable[[str], Path]
PARTS = [(10, 26), (0, 16), (30, 60)]
NUMBERS = [*range(10, 26), *range(0, 16), *range(30, 60)]


def joined(clip: Clip) -> JoinedReader:
    readers = [open_video(clip(name)) for name in ("h264_b.mp4", "mpeg4_b.avi", "h264.ts")]
    return JoinedReader(readers, PARTS)


def test_frames_are_counted_over_the_whole(clip: Clip) -> None:
    reader = joined(clip)
    assert len(reader) == len(NUMBERS) == 62
    assert reader.cuts == (16, 32)
    assert (reader.size, reader.fps, reader.backend) == ((160, 96), 25.0, "joined")
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(62), 2))
    assert [frame_number(picture) for picture in reader.frames(order)] == [NUMBERS[i] for i in order]


def test_iteration_gives_the_same_frames(clip: Clip) -> None:
    reader = joined(clip)
    pictures = np.stack(list(reader))
    assert np.array_equal(pictures, reader.frames(range(62)))


def test_without_parts_each_video_is_taken_whole(clip: Clip) -> None:
    path = clip("h264_b.mp4")
    with JoinedReader([open_video(path), open_video(path)]) as reader:
        assert np.array_equal(np.stack(list(reader)), np.concatenate([sequential(path)] * 2))


def test_frames_are_stretched_to_one_size(clip: Clip) -> None:
    readers = [open_video(clip("h264_b.mp4")), open_video(clip("h264_odd_width.mp4"))]
    reader = JoinedReader(readers, [(0, 3), (5, 9)], size=(64, 48))
    assert reader.size == (64, 48)
    for pictures in (reader.frames(range(7)), np.stack(list(reader))):
        assert pictures.shape == (7, 48, 64, 3)
        assert [frame_number(picture) for picture in pictures] == [0, 1, 2, 5, 6, 7, 8]
    whole = sequential(clip("h264_odd_width.mp4"))[5]
    assert np.array_equal(pictures[3], Image.fromarray(whole).resize((64, 48), Image.Resampling.BILINEAR))


def test_several_sizes_need_one_to_stretch_to(clip: Clip) -> None:
    readers = [open_video(clip("h264_b.mp4")), open_video(clip("h264_odd_width.mp4"))]
    with pytest.raises(VideoError, match=r"160 x 96, 170 x 98"):
        JoinedReader(readers, [(0, 3), (5, 9)], path="composed-1")


@pytest.mark.parametrize("part", [(0, 61), (-1, 5), (7, 7)])
def test_a_part_outside_its_video_is_refused(part: tuple[int, int], clip: Clip) -> None:
    with pytest.raises(ValueError, match="60 frames"):
        JoinedReader([open_video(clip("h264_b.mp4"))], [part])


def test_closing_closes_all(clip: Clip) -> None:
    reader = joined(clip)
    reader.frames([0, 20, 40])
    reader.close()
    with pytest.raises(VideoError, match="closed"):
        reader.frames([0])
