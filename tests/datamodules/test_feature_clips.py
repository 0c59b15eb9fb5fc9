"""Clips of features hold the snippets that their task says, of the sources of a benchmark."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_bags import SNIPPET
from toy_sequences import PLACE, TURN, Sequences, pointer, sequence_data, write

from vad.datamodules.feature_clips import FeatureClipData
from vad.datamodules.pretext import TASKS
from vad.datamodules.pretext_data import TRAINING
from vad.errors import CacheError, ConfigError
from vad.types import ClipBatch, Split, Video


def batches(data: FeatureClipData) -> list[ClipBatch]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(0)
    return list(loader)


def test_a_clip_holds_the_snippets_that_its_task_and_class_say() -> None:
    seen: set[tuple[str, int]] = set()
    for batch in batches(sequence_data()):
        assert batch.clips.shape == (32, 16, 5) and batch.clips.dtype == torch.float16 and batch.size == 32
        assert Counter(batch.task.tolist()) == dict.fromkeys(range(4), 8)
        for clip, t, target in zip(
            batch.clips.float().numpy(), batch.task.tolist(), batch.target.tolist(), strict=True
        ):
            video, place, task = clip[:, 0], clip[:, 1].astype(int), TASKS[t]
            steps = set(np.diff(place).tolist())
            seen.add((task, target))
            match task:
                case "speed":
                    assert steps == {(1, 2, 4)[target]}
                case "arrow":
                    assert steps in (({-1}, {-2}) if target else ({1}, {2}))
                case "order":
                    blocks = place.reshape(4, 4)
                    assert (steps in ({1}, {2})) == bool(target)
                    assert (np.diff(blocks) > 0).all(), "snippets of a block run forward"
                case "change":
                    assert (steps in ({1}, {2}) and len(set(video)) == 1) != bool(target)
                    if target and len(set(video)) == 1:
                        step, where = min(steps, key=lambda s: (s < 1, s)), np.diff(place)
                        (cut,) = [c for c in range(15) if where[c] not in (1, 2)]
                        assert abs(int(where[cut]) - step) >= 16, "a jump leads far away"
    assert len(seen) == 9, "every class of every task was drawn"


def test_a_row_joins_the_streams_of_its_snippet_and_replaces_crops_by_their_mean() -> None:
    data = sequence_data()
    (video,) = [v for v in data.needed() if v.id.endswith("/3")]
    rows = data.rows([video]).read(0, np.array([0, 5, 89]))
    assert rows.dtype == np.float16 and rows[:, :2].tolist() == [[3, 0], [3, 5], [3, 89]]
    assert (rows[:, 2:] == pointer(3, 90)[[0, 5, 89]].astype(np.float16)).all()


def test_what_is_too_short_for_the_fastest_speed_is_left_out() -> None:
    data = sequence_data()
    assert (data.speeds, data.gap, data.window, data.shortest) == ((1, 2, 4), 16, 64, 61)
    assert data.row_counts(data.needed()).tolist() == [60, 70, 80, 90, 100, 110, 120, 130]
    assert data.left_out == 1 and "weak_train/0" not in {video.id for video in data.fit_videos()}
    assert not {video.scene for video in data.fit_videos()} & {video.scene for video in data.validation_videos()}


def test_sources_are_read_not_what_was_composed_of_them() -> None:
    class Joined(Sequences):
        def sources(self, split: Split) -> list[Video]:
            return super().videos(split)

        def videos(self, split: Split) -> list[Video]:
            return [Video(f"{split}/joined", split, label=1, frames=10_000)]

    joined = FeatureClipData(
        benchmark=Joined(), features=[PLACE, TURN], batch_size=32, validation=0.25, checkpoint_every=10
    )
    with pytest.raises(CacheError, match="16 cache entries are missing"):
        joined.setup("fit")
    alone = sequence_data()
    joined.setup("fit")
    assert all(torch.equal(a.clips, b.clips) for a, b in zip(batches(alone), batches(joined), strict=True))


def test_no_clip_crosses_a_cut_which_is_counted_in_frames() -> None:
    class Cut(Sequences):
        def videos(self, split: Split) -> list[Video]:
            return [replace(v, cuts=(61 * SNIPPET,) if v.id.endswith("/7") else ()) for v in super().videos(split)]

    sequence_data()
    data = FeatureClipData(benchmark=Cut(), features=[PLACE, TURN], batch_size=32, validation=0.0)
    cut = [video.id for video in data.fit_videos()].index("weak_train/7")
    assert [take[1:] for take in data.clips(TRAINING).takes if take.video == cut] == [(0, 61), (61, 130)]


def test_a_stream_that_is_longer_is_cut_to_the_shortest() -> None:
    data = sequence_data()
    write(TURN, "weak_train/4", np.zeros((98, 1, TURN.dim)))
    assert sequence_data().row_counts(data.needed())[4] == 98
    assert max(take.stop for take in sequence_data().clips(TRAINING).takes) == 130


def test_features_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="features: at least one recipe"):
        FeatureClipData(benchmark=Sequences(), features=[], batch_size=32)
