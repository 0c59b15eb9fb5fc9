"""What every datamodule shares, where cubes do not show it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from toy_bags import ToyFeatures, ToyWeak, bag_data

from vad import cache
from vad.datamodules.bags import BagData
from vad.datamodules.video_data import ends_of_chains, first_of_both
from vad.errors import CacheError
from vad.extract.packs import PackRecipe
from vad.stages import recipe_key
from vad.types import Split, Video


def videos(labels: list[int | None]) -> list[Video]:
    return [Video(f"{i}", "test", label=label) for i, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "at_most", "kept"),
    [
        ([1, 1, 1, 0, 0, 0], 2, ["0", "3"]),
        ([1, 1, 1, 0, 0, 0], 5, ["0", "1", "3", "4", "5"]),
        ([1, 1, 1, 0, 0, 0], 1, ["3"]),
        ([1, 0, 0, 0], 4, ["0", "1", "2", "3"]),
        ([1, 1, 1, 1, 0], 4, ["0", "1", "2", "4"]),
        ([1, 1, 1], 2, ["0", "1"]),
        ([None, None, None], 2, ["0", "1"]),
        ([1, None, 0], 2, ["0", "1"]),
        ([1, 1, 0], None, ["0", "1", "2"]),
    ],
)
def test_max_videos_takes_half_of_each_label_where_labels_are_known(labels, at_most, kept) -> None:
    assert [video.id for video in first_of_both(videos(labels), at_most)] == kept


class Scenes(ToyWeak):
    """63 abnormal and 175 normal videos of 13 scenes of unequal size, as ShanghaiTech has."""

    def videos(self, split: Split) -> list[Video]:
        scenes = [scene for scene in range(13) for _ in range(2 * scene + 3)]
        return [
            Video(f"{i:03d}", split, label=int(i < 63), frames=160, scene=f"{scenes[i % len(scenes)]:02d}")
            for i in range(238)
        ]


@pytest.mark.parametrize("seed", [0, 1])
def test_validation_holds_out_a_share_of_every_label_and_scene(seed) -> None:
    data = BagData(benchmark=Scenes(), features=[ToyFeatures(name="look", dim=12)], validation=0.2, seed=seed)
    held_out = data.validation_videos()
    assert Counter(video.label for video in held_out) == {0: 35, 1: 13}
    every = Counter((v.label, v.scene) for v in data.benchmark.videos("weak_train"))
    drawn = Counter((v.label, v.scene) for v in held_out)
    assert all(abs(drawn[stratum] - 0.2 * count) <= 1 for stratum, count in every.items())
    assert not {v.id for v in held_out} & {v.id for v in data.fit_videos()}


def test_small_scenes_are_held_out_too_though_none_of_them_has_a_whole_share() -> None:
    data = BagData(benchmark=Scenes(), features=[ToyFeatures(name="look", dim=12)], validation=0.05)
    assert Counter(video.label for video in data.validation_videos()) == {0: 9, 1: 3}


def test_a_missing_pack_names_the_command_that_imports_it() -> None:
    data = BagData(benchmark=ToyWeak(), features=[PackRecipe(name="i3d", dim=4)])
    with pytest.raises(CacheError, match=r"run  vad extract packs --benchmark ToyWeak .*--name i3d"):
        data.setup("fit")


@dataclass(frozen=True, kw_only=True)
class Derived(ToyFeatures):
    """Features that are made of others."""

    kind: ClassVar[str] = "derived"
    of: ToyFeatures


LOOK, MOVE = ToyFeatures(name="look", dim=12), ToyFeatures(name="move", dim=8)


def test_a_source_is_covered_by_what_builds_on_it() -> None:
    derived = Derived(name="small", dim=2, of=LOOK)
    assert ends_of_chains([LOOK, derived, MOVE]) == [derived, MOVE]


def test_the_key_of_scores_names_every_independent_recipe() -> None:
    def key(*features: Any) -> str:
        return recipe_key(BagData(benchmark=ToyWeak(), features=list(features)))

    assert key(LOOK) == LOOK.key
    assert key(LOOK, Derived(name="small", dim=2, of=LOOK)) == Derived(name="small", dim=2, of=LOOK).key
    assert key(LOOK, MOVE) == f"{LOOK.key}+{MOVE.key}"


@pytest.mark.parametrize("recipe", [LOOK, MOVE])
def test_a_video_that_any_stream_lacks_is_left_out(recipe) -> None:
    data = bag_data()
    cache.entry(data.benchmark.dataset, recipe, "test/03").mark_broken("it is cut short", identity={})
    assert data.broken() == {"test/03": "it is cut short"}
    assert "test/03" not in {video.id for video in data.score_videos()} and len(data.score_videos()) == 11
