"""Clips hold the frames that their task says, whoever reads them, and a broken video is named."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numbered import SIZE, numbered_footage
from videos import frame_number

from vad.benchmarks import Footage
from vad.datamodules.clips import ClipData
from vad.datamodules.pretext import TASKS
from vad.datamodules.pretext_data import ESTIMATE
from vad.errors import ConfigError, DataError, VideoError
from vad.extract.frames import FrameRecipe
from vad.extract.launch import extract
from vad.types import ClipBatch, Split, Video
from vad.video import VideoReader

OPTIONS: dict[str, Any] = {
    "size": SIZE,
    "window": 40,
    "speeds": [1, 2],
    "gap": 12,
    "per_window": 2,
    "batch_size": 16,
    "validation": 0.25,
    "validation_clips": 32,
    "test_clips": 32,
}


class Training(Footage):
    """Footage to learn from: videos of 50 to 80 frames, half of them labelled abnormal, two of each scene."""

    def offered(self) -> tuple[Split, ...]:
        return ("weak_train",)

    def videos(self, split: Split) -> list[Video]:
        found = super().videos("test")
        return [
            Video(id=v.id, split=split, path=v.path, label=i % 2, frames=v.frames, scene=str(i // 2))
            for i, v in enumerate(found)
        ]

    def open(self, video: Video) -> VideoReader:
        assert video.split != "test"
        return super().open(video)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips") / "videos"
    numbered_footage(folder, [50, 60, 70, 80, 55, 65, 75, 45])
    return folder


def clip_data(folder: Path, **options: Any) -> ClipData:
    return ClipData(benchmark=Training(str(folder)), **{**OPTIONS, **options})


def numbers(batch: ClipBatch) -> np.ndarray:
    """The frame numbers of every clip, int64 (B, T)."""
    return np.array([[frame_number(picture) for picture in clip.numpy()] for clip in batch.clips])


def batches(data: ClipData, epoch: int = 0) -> list[ClipBatch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def place_in(data: ClipData, rank: int, world: int) -> None:
    """As a trainer of several processes does."""
    device = SimpleNamespace(type="cpu")
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank, world_size=world, strategy=SimpleNamespace(root_device=device)
    )


def same(one: ClipBatch, other: ClipBatch) -> bool:
    return all(torch.equal(getattr(one, n), getattr(other, n)) for n in ("clips", "task", "target", "video", "key"))


def test_a_clip_holds_the_frames_that_its_task_and_class_say(footage: Path) -> None:
    data = clip_data(footage, checkpoint_every=3)
    for batch in batches(data):
        assert batch.clips.shape == (16, 16, SIZE[1], SIZE[0], 3) and batch.size == len(batch) == 16
        assert Counter(batch.task.tolist()) == dict.fromkeys(range(4), 4)
        for frames, task, target in zip(numbers(batch), batch.task.tolist(), batch.target.tolist(), strict=True):
            steps = set(np.diff(frames).tolist())
            match TASKS[task]:
                case "speed":
                    assert steps == {(1, 2)[target]}
                case "arrow":
                    assert steps in (({-1}, {-2}) if target else ({1}, {2}))
                case "order":
                    assert (steps in ({1}, {2})) == bool(target)
                case "change":
                    assert (len(steps) == 1) != bool(target)


def test_any_number_of_workers_and_processes_gives_one_stream(footage: Path) -> None:
    alone = batches(clip_data(footage, checkpoint_every=3))
    workers = batches(clip_data(footage, checkpoint_every=3, num_workers=2))
    assert all(map(same, alone, workers))
    shares = []
    for rank in (0, 1):
        data = clip_data(footage, checkpoint_every=3)
        place_in(data, rank, 2)
        shares.append(batches(data))
    for whole, first, second in zip(alone, *shares, strict=True):
        assert first.size == second.size == 16
        keys = torch.cat([first.key, second.key])
        assert sorted(keys.tolist()) == whole.key.tolist()
        assert torch.equal(torch.cat([first.clips, second.clips])[keys.argsort()], whole.clips)


def test_processes_validate_on_every_clip_once(footage: Path) -> None:
    keys = []
    for rank in (0, 1):
        data = clip_data(footage, validation_clips=40)
        place_in(data, rank, 2)
        keys += [key for batch in data.val_dataloader() for key in batch.key.tolist()]
    assert sorted(keys) == list(range(48)), "40 clips, rounded up to whole batches"


def test_a_change_jumps_over_the_gap_where_there_is_no_other_video(tmp_path: Path) -> None:
    numbered_footage(tmp_path / "videos", [80])
    data = clip_data(tmp_path / "videos", validation=0.0, tasks=["change"], gap=8, checkpoint_every=8)
    changed = 0
    for batch in batches(data):
        for frames, target in zip(numbers(batch), batch.target.tolist(), strict=True):
            steps = np.diff(frames)
            step = int(np.median(steps))
            cut = np.flatnonzero(steps != step)
            assert len(cut) == target and (np.abs(steps[cut] - step) >= 8).all()
            changed += target
    assert changed > 40


def test_an_epoch_goes_on_where_the_last_one_ended(footage: Path) -> None:
    whole = batches(clip_data(footage, checkpoint_every=4))
    halves = clip_data(footage, checkpoint_every=2)
    assert all(map(same, whole, [*batches(halves, 0), *batches(halves, 1)]))


def test_the_first_steps_hold_the_first_tasks_alone(footage: Path) -> None:
    first, second, third = batches(clip_data(footage, checkpoint_every=3, first=["arrow"], first_steps=2))
    assert {TASKS[t] for t in first.task.tolist()} == {TASKS[t] for t in second.task.tolist()} == {"arrow"}
    assert {TASKS[t] for t in third.task.tolist()} == set(TASKS)


def test_whole_scenes_are_held_out_and_validated_on_in_turn(footage: Path) -> None:
    data = clip_data(footage)
    held_out = data.validation_videos()
    assert len(held_out) == 2 and len({v.scene for v in held_out}) == 1
    assert not {v.id for v in held_out} & {v.id for v in data.fit_videos()}
    validated, again = list(data.val_dataloader()), list(clip_data(footage).val_dataloader())
    assert sum(map(len, validated)) == 32 and all(map(same, validated, again))
    assert Counter(torch.cat([b.video for b in validated]).tolist()) == {0: 16, 1: 16}
    assert not any(map(same, validated, data.test_dataloader()))
    assert len(clip_data(footage, hold_out="videos").validation_videos()) == 2


def test_few_clips_are_of_videos_from_the_whole_list(footage: Path) -> None:
    def in_turn(clips: int) -> list[list[int]]:
        """The first window's videos, in the first four pairs of windows; a window gives two clips, a pair four."""
        data = clip_data(footage, validation=0.0, test_clips=clips)
        return data.clips(ESTIMATE)[range(4)].video.view(4, 4)[:, :2].tolist()

    assert in_turn(32) == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert in_turn(16) == [[0, 0], [2, 2], [4, 4], [6, 6]]


def test_at_most_so_many_videos_are_of_both_labels(footage: Path) -> None:
    class AbnormalFirst(Training):
        def videos(self, split: Split) -> list[Video]:
            return sorted(super().videos(split), key=lambda video: -(video.label or 0))

    data = ClipData(benchmark=AbnormalFirst(str(footage)), **{**OPTIONS, "max_videos": 4})
    assert [video.label for video in data.needed()] == [1, 1, 0, 0]


def test_a_test_video_among_the_sources_is_refused(footage: Path) -> None:
    class Leaking(Training):
        def sources(self, split: Split) -> list[Video]:
            return [replace(v, split="test" if v.id == "3" else v.split) for v in self.videos(split)]

    with pytest.raises(DataError, match="3 is a test video"):
        ClipData(benchmark=Leaking(str(footage)), **OPTIONS).fit_videos()


def test_no_clip_crosses_a_cut(footage: Path) -> None:
    class Cut(Training):
        def videos(self, split: Split) -> list[Video]:
            return [replace(v, cuts=(33,)) for v in super().videos(split) if v.frames and v.frames >= 65]

    data = ClipData(benchmark=Cut(str(footage)), **{**OPTIONS, "checkpoint_every": 6, "validation": 0.0})
    for batch in batches(data):
        for frames, task in zip(numbers(batch), batch.task.tolist(), strict=True):
            assert TASKS[task] == "change" or len({bool(f >= 33) for f in frames}) == 1


def test_frames_of_the_cache_are_those_that_would_be_decoded(footage: Path) -> None:
    size = (80, 48)
    recipe = FrameRecipe(size=size)
    data = clip_data(footage, frames=recipe, checkpoint_every=2)
    assert data.recipes() == [recipe]
    extract(data.recipes(), data.benchmark, data.needed)
    decoded = batches(clip_data(footage, size=size, checkpoint_every=2))
    assert all(map(same, batches(data), decoded))
    assert decoded[0].clips.shape[2:4] == size[::-1]


def test_a_broken_video_stops_or_is_named_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    numbered_footage(folder, [50, 60, 70, 80])
    options = {"checkpoint_every": 6, "validation": 0.0}
    whole = batches(clip_data(folder, **options))
    content = bytearray((folder / "2.mp4").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = np.random.default_rng(0).bytes(200)  # decoding alone tells
    (folder / "2.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"2\.mp4"):
        batches(clip_data(folder, **options))
    with pytest.raises(VideoError, match=r"^[^\n]*2\.mp4[^\n]*$"):  # one line, without a worker's traceback
        batches(clip_data(folder, num_workers=1, **options))
    data = clip_data(folder, on_broken="skip", **options)
    skipping = batches(data)
    assert not data.broken() and {name for batch in skipping for name in batch.broken} == {"2"}
    for batch, before in zip(skipping, whole, strict=True):
        kept = (before.video != 2).view(4, 4).all(1).repeat_interleave(4)  # pairs of windows without that video
        assert len(batch) == 16 and torch.equal(batch.clips[kept], before.clips[kept])
    again = batches(clip_data(folder, on_broken="skip", num_workers=2, **options))
    assert all(map(same, skipping, again))


def test_a_video_that_cannot_be_opened_stops_or_is_left_out_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    numbered_footage(folder, [50, 60, 70, 80])
    (folder / "1.mp4").write_bytes(b"no video")
    with pytest.raises(VideoError, match=r"1\.mp4"):
        clip_data(folder).fit_videos()
    data = clip_data(folder, on_broken="skip")
    assert set(data.broken()) == {"1"} and data.left_out == 0
    assert {v.id for v in [*data.fit_videos(), *data.validation_videos()]} == {"0", "2", "3"}


def test_a_video_shorter_than_published_stops_or_is_named_and_replaced(footage: Path) -> None:
    class Published(Training):
        def videos(self, split: Split) -> list[Video]:
            return [replace(v, frames=(v.frames or 0) + 60 * (v.id == "2")) for v in super().videos(split)]

    options = {**OPTIONS, "checkpoint_every": 6, "validation": 0.0}
    with pytest.raises(VideoError, match=r"2\.mp4: has 70 frames, and 130 are published"):
        batches(ClipData(benchmark=Published(str(footage)), **options))
    skipping = batches(ClipData(benchmark=Published(str(footage)), on_broken="skip", **options))
    assert {name for batch in skipping for name in batch.broken} == {"2"}


def test_videos_that_are_too_short_for_a_task_are_left_out_and_counted(footage: Path) -> None:
    data = clip_data(footage, speeds=[1, 4], window=70)
    assert data.shortest == 61
    assert {v.frames for v in [*data.fit_videos(), *data.validation_videos()]} == {65, 70, 75, 80}
    assert data.left_out == 4
    with pytest.raises(DataError, match="none of 8 videos"):
        clip_data(footage, speeds=[1, 8], window=121).fit_videos()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tasks": []}, "tasks|first"),
        ({"tasks": ["order", "order"]}, "tasks"),
        ({"first": ["arrow"]}, "first_steps"),
        ({"tasks": ["order"], "first": ["arrow"], "first_steps": 2}, "first"),
        ({"length": 10}, "multiple of four"),
        ({"speeds": [2]}, "at least two"),
        ({"batch_size": 6}, "multiple"),
        ({"window": 20}, "31 frames"),
        ({"steps": [1, 3]}, "steps: one of 3 reaches over 46 frames, and window is 40"),
        ({"gap": 0}, "gap: expected at least 1"),
        ({"validation_clips": 0}, "validation_clips: expected at least 1"),
        ({"test_clips": 0}, "test_clips: expected at least 1"),
        ({"size": (0, 40)}, r"size: .* at least 8, got \[0, 40\]"),
        ({"frames": FrameRecipe(size=(4, 4))}, r"size: .* at least 8, got \[4, 4\]"),
        ({"protocol": "weak"}, "pretext"),
    ],
)
def test_what_cannot_be_drawn_is_refused(footage: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        clip_data(footage, **options)
