"""Small frames in the cache are those that a reader gives at that size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from videos import frame_number, numbered_picture, write_clip

from vad import cache
from vad.benchmarks import Benchmark
from vad.benchmarks.footage import Footage
from vad.errors import ConfigError, VideoError
from vad.extract import crops
from vad.extract.frames import TOGETHER, FrameRecipe
from vad.extract.launch import extract
from vad.types import Video
from vad.video import JoinedReader, VideoReader, open_video

SMALL = FrameRecipe(size=(80, 48))


@pytest.fixture
def footage(tmp_path: Path) -> Footage:
    """A file whose frames seek, one that is read from its start alone, and a folder of images."""
    root = tmp_path / "footage"
    (root / "grey").mkdir(parents=True)
    write_clip(root / "file.mp4", frames=2 * TOGETHER + 7)
    write_clip(root / "stream.ts", frames=TOGETHER + 1)
    for number in range(5):
        Image.fromarray(numbered_picture(number)).convert("L").save(root / "grey" / f"{number}.png")
    return Footage(str(root))


def test_an_entry_holds_every_frame_as_a_reader_gives_it_at_that_size(footage: Footage) -> None:
    videos = footage.videos("test")
    (summary,) = extract([SMALL], footage, videos)
    assert (summary.computed, summary.frames) == (3, 3 * TOGETHER + 8 + 5)
    for video in videos:
        entry = cache.entry(footage.dataset, SMALL, video.id)
        stored = entry.read("frames")
        assert isinstance(stored, np.memmap) and stored.dtype == np.uint8
        assert [frame_number(picture) for picture in stored] == list(range(len(stored)))
        with footage.open(video) as reader:
            assert np.array_equal(stored, reader.frames(range(len(reader)), size=(80, 48)))
        assert entry.describe()["extra"]["frames"] == len(stored) == video.frames
        if video.id == "grey":
            assert np.array_equal(stored[..., 0], stored[..., 2])


class Joint(Footage):
    """Its videos are opened as parts of others, stretched to one size."""

    def open(self, video: Video) -> VideoReader:
        assert video.path is not None
        return JoinedReader([open_video(video.path)], [(3, 5)], size=(64, 64))


def test_a_joined_video_is_stored_from_the_footage_itself(footage: Footage) -> None:
    joint: Benchmark = Joint(str(footage.root))
    video = joint.videos("test")[0]
    arrays, extra = SMALL.worker("cpu")(joint, video)
    with footage.open(video) as reader:
        assert np.array_equal(arrays["frames"], reader.frames([3, 4], size=(80, 48)))
    assert extra["frames"] == 2


def test_frames_of_a_long_video_are_filled_on_disk(footage: Footage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crops, "HELD_BYTES", 1000)
    video = footage.videos("test")[0]
    arrays, _ = SMALL.worker("cpu")(footage, video)
    assert isinstance(arrays["frames"], np.memmap)
    assert [frame_number(picture) for picture in arrays["frames"]] == list(range(2 * TOGETHER + 7))


def test_a_cut_off_file_is_an_error_and_leaves_no_entry(footage: Footage) -> None:
    (video,) = (v for v in footage.videos("test") if v.id == "file")
    assert video.path is not None
    content = video.path.read_bytes()
    video.path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(VideoError, match=r"file\.mp4"):
        extract([SMALL], footage, [video])
    assert not cache.entry(footage.dataset, SMALL, video.id).exists()


def test_the_size_is_part_of_the_recipe_and_must_hold_a_pixel() -> None:
    assert FrameRecipe().size == (160, 120)
    assert len({recipe.key for recipe in (FrameRecipe(), FrameRecipe(size=(120, 160)), SMALL)}) == 3
    with pytest.raises(ConfigError, match="size is a width and a height of at least 1, got \\[0, 5\\]"):
        FrameRecipe(size=(0, 5))
