"""What each video of `Composed` is joined from: groups first, then clips; known before anything is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vad.errors import DataError
from vad.types import Split

SPLITS: tuple[Split, ...] = ("weak_train", "test")


class Clip(NamedTuple):
    """What the plan has to know of a clip."""

    id: str
    label: int  # 0 normal, 1 abnormal
    group: str  # the source that it was cut from


@dataclass(frozen=True)
class Composition:
    """One video: clips one after the other."""

    id: str
    split: Split
    clips: tuple[Clip, ...]

    @property
    def label(self) -> int:
        return max(clip.label for clip in self.clips)


def split_groups(clips: Sequence[Clip], share: float, seed: int) -> dict[str, Split]:
    """The split of each group: a `share` of them is for training, none is in both.

    Groups that give both kinds of clips, normal ones alone and abnormal ones alone are split one after the other, so
    that each split gets its share of every sort.
    """
    rng = np.random.default_rng([seed, 0])
    kinds: dict[str, set[int]] = {}
    for clip in clips:
        kinds.setdefault(clip.group, set()).add(clip.label)
    found: dict[str, Split] = {}
    for sort in ({0, 1}, {0}, {1}):
        groups = rng.permutation(sorted(group for group, labels in kinds.items() if labels == sort)).tolist()
        training = round(share * len(groups))
        found |= {group: SPLITS[index >= training] for index, group in enumerate(groups)}
    return found


def compose(
    clips: Sequence[Clip],
    groups: Mapping[str, Split],
    *,
    videos: Mapping[Split, int],
    length: int,
    events: tuple[int, int],
    seed: int,
) -> list[Composition]:
    """Every video, splits in order, normal and abnormal ones shuffled.

    Args:
        clips: In the order of the index.
        groups: The split of each group.
        videos: So many normal and as many abnormal videos of each split.
        length: Clips of a video.
        events: Least and greatest number of abnormal clips in an abnormal video; each number occurs equally often.
        seed: Everything random is a function of it and of the split.

    Raises `DataError` where a split has fewer clips of a kind than one video takes.
    """
    plan = []
    for number, split in enumerate(SPLITS, start=1):
        rng = np.random.default_rng([seed, number])
        count = videos[split]
        abnormal = rng.permutation(events[0] + np.arange(count) % (events[1] - events[0] + 1)).tolist()
        normal, fights = ([c for c in clips if groups[c.group] == split and c.label == label] for label in (0, 1))
        for kind, pool, needed in (("normal", normal, length), ("abnormal", fights, events[1])):
            if len(pool) < needed:
                raise DataError(
                    f"the groups of {split} give {len(pool)} {kind} clips that can be used, but a video takes up to "
                    f"{needed}: add clips, or ask for fewer clips in a video"
                )
        hands = deal(rng, normal, [length] * count)  # of normal videos
        with_events = zip(deal(rng, normal, [length - n for n in abnormal]), deal(rng, fights, abnormal), strict=True)
        hands += [quiet + loud for quiet, loud in with_events]
        for index, hand in enumerate(rng.permutation(len(hands)).tolist()):
            order = rng.permutation(length).tolist()
            plan.append(Composition(f"{split}-{index:03d}", split, tuple(hands[hand][i] for i in order)))
    return plan


def deal(rng: np.random.Generator, clips: Sequence[Clip], counts: Sequence[int]) -> list[list[Clip]]:
    """A hand of `counts[i]` distinct clips for each i; over all hands each clip is dealt equally often, or once more.

    Our choice: whatever has been dealt least comes next, in random order. So each group's normal clips stand in normal
    and in abnormal videos as soon as there are more places than clips.
    """
    dealt = np.zeros(len(clips), np.int64)
    hands = []
    for count in counts:
        taken = np.lexsort((rng.random(len(clips)), dealt))[:count]
        dealt[taken] += 1
        hands.append([clips[i] for i in taken])
    return hands
