"""What pretext tasks on frames and on features share: which videos, which clips, in which order."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from torch.utils.data import DataLoader

from vad.datamodules.clip_frames import ClipFrames
from vad.datamodules.drawn_clips import DrawnClips
from vad.datamodules.order import BatchOrder, DrawnOrder
from vad.datamodules.pretext import Rules, Task
from vad.datamodules.video_data import VideoData, first_of_both
from vad.errors import ConfigError, DataError
from vad.extract.extraction import Extraction
from vad.types import Protocol, Record, Split, Video, protocol_splits

TRAINING, VALIDATION, TEST, ESTIMATE = range(4)  # stages: each draws other clips


class PretextData(VideoData):
    """Clips of pretext tasks, drawn from source videos of the training splits; test videos are never read.

    Labels are not used, except by the probe of neighbours and for `max_videos`. Clips are drawn without end and never
    held: `max_items` and `in_memory` change nothing.

    Args:
        tasks: What is learned; a batch holds equally many clips of each.
        first: Tasks that are learned alone in the beginning, for `first_steps` steps. Our choice: where the arrow of
            time is learned together with easier tasks from the start, it may stay at chance.
        first_steps: See `first`.
        length: Frames of a clip, a multiple of four.
        speeds: Steps between frames that are to be told apart.
        steps: Steps between frames in the other tasks.
        gap: Frames at least that a change jumps over.
        window: Frames of a window.
        per_window: Clips of a window, which is read once for all of them.
        hold_out: What is held out whole: `scenes`, where videos have one, so that no camera is on both sides, or
            `videos`.
        validation_clips: Clips of the held-out videos that are validated on, the same ones in every epoch; rounded up
            to whole batches.
        test_clips: Clips of the held-out videos that a finished encoder is tested on; others than those.
        on_broken: What becomes of a video that cannot be read: `stop`, or `skip` it and count it.
        protocol: `pretext`.
        validation: Share of the videos that is held out.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[Task] = ("order", "speed", "arrow", "change"),
        first: Sequence[Task] = (),
        first_steps: int = 0,
        length: int = 16,
        speeds: Sequence[int] = (1, 2, 4, 8),
        steps: Sequence[int] = (1, 2),
        gap: int = 64,
        window: int = 128,
        per_window: int = 4,
        hold_out: Literal["scenes", "videos"] = "scenes",
        validation_clips: int = 512,
        test_clips: int = 1024,
        on_broken: Literal["stop", "skip"] = "stop",
        protocol: Protocol = "pretext",
        validation: float = 0.1,
        **shared: Any,
    ) -> None:
        super().__init__(protocol=protocol, validation=validation, **shared)
        for name, given in (("tasks", tasks), ("first", first)):
            if len(set(given)) < len(given) or not set(given) <= set(get_args(Task)):
                raise ConfigError(f"{name}: expected some of {', '.join(get_args(Task))}, each once, got {list(given)}")
        if not tasks or not set(first) <= set(tasks) or bool(first) != (first_steps > 0):
            raise ConfigError(
                f"first: expected some of tasks ({', '.join(tasks)}) and first_steps above 0, or neither, got "
                f"{list(first)} and {first_steps}"
            )
        if length < 8 or length % 4:
            raise ConfigError(f"length: expected a multiple of four of at least 8, got {length}")
        for name, listed in (("speeds", speeds), ("steps", steps)):
            if not listed or min(listed) < 1 or len(set(listed)) < len(listed):
                raise ConfigError(f"{name}: expected numbers of at least 1, each once, got {list(listed)}")
        if "speed" in tasks and len(speeds) < 2:
            raise ConfigError(f"speeds: expected at least two to tell apart, got {list(speeds)}")
        numbers = {"gap": gap, "validation_clips": validation_clips, "test_clips": test_clips}
        if low := [name for name, number in numbers.items() if number < 1]:
            raise ConfigError(f"{low[0]}: expected at least 1, got {numbers[low[0]]}")
        if per_window < 1 or self.batch_size % (2 * per_window):
            raise ConfigError(
                f"batch_size: clips come from pairs of windows, {2 * per_window} at a time: expected a multiple of "
                f"that, got {self.batch_size}"
            )
        if self.protocol != "pretext":
            raise ConfigError(f"protocol: clips are for pretext tasks, not for {self.protocol}")
        self.tasks = tuple(tasks)
        self.first = tuple(first)
        self.first_steps = first_steps
        self.length = length
        self.speeds = tuple(speeds)
        self.steps = tuple(steps)
        self.gap = gap
        self.window = window
        self.per_window = per_window
        self.hold_out = hold_out
        self.validation_clips = validation_clips
        self.test_clips = test_clips
        self.on_broken: Literal["stop", "skip"] = on_broken
        self.rules = Rules(length=length, speeds=self.speeds, steps=self.steps, gap=gap)
        if window < self.shortest:
            raise ConfigError(f"window: the tasks need {self.shortest} frames, got {window}")
        widest = max(self.steps) * (length - 1) + 1
        if set(tasks) != {"speed"} and window < widest:
            raise ConfigError(f"steps: one of {max(self.steps)} reaches over {widest} frames, and window is {window}")

    @property
    def shortest(self) -> int:
        """Frames that a video must have for every task; shorter ones are left out."""
        return max(self.rules.needs(task) for task in self.tasks)

    @abstractmethod
    def rows(self, videos: Sequence[Video]) -> ClipFrames:
        """What the clips of some videos are read from."""

    @abstractmethod
    def row_counts(self, videos: Sequence[Video]) -> np.ndarray:
        """int64 (v,): frames, or snippets, of each video; none of them is `broken`."""

    def row_cuts(self, video: Video) -> tuple[int, ...]:
        """Frames, or snippets, of a video at which material was joined, ascending."""
        return video.cuts

    # Which videos

    def splits(self, recipe: Extraction | None = None) -> tuple[Split, ...]:
        offered = self.benchmark.offered()
        found = tuple(split for split in protocol_splits("pretext").fit if split in offered)
        if not found:
            raise DataError(f"{self.benchmark.name}: has no videos of train or weak_train, which clips are drawn from")
        return found

    def needed(self, recipe: Extraction | None = None) -> list[Video]:
        return self._sources

    @cached_property
    def _sources(self) -> list[Video]:
        listed = [first_of_both(self.benchmark.sources(split), self.max_videos) for split in self.splits()]
        sources = {video.id: video for of_split in listed for video in of_split}
        if leaked := [video.id for video in sources.values() if video.split == "test"]:
            raise DataError(f"{self.benchmark.name}: {leaked[0]} is a test video, which no clip may be drawn from")
        return list(sources.values())

    @cached_property
    def _long_enough(self) -> list[Video]:
        broken = self.broken()
        left = [video for video in self._sources if video.id not in broken]
        counts = self.row_counts(left)
        found = [
            video
            for video, count in zip(left, counts.tolist(), strict=True)
            if any(stop - start >= self.shortest for start, stop in pairwise((0, *self.row_cuts(video), count)))
        ]
        if not found:
            raise DataError(
                f"{self.benchmark.name}: none of {len(self._sources)} videos has the {self.shortest} frames that the "
                "tasks need; take fewer speeds"
            )
        return found

    @property
    def left_out(self) -> int:
        """Videos that are too short for the tasks."""
        return len(self._sources) - len(self.broken()) - len(self._long_enough)

    def validation_videos(self) -> list[Video]:
        """A share of the videos, by whole scenes where `hold_out` says so: a function of seed and ids."""
        videos = self._long_enough
        if self.validation == 0:
            return []
        groups: dict[str, list[Video]] = {}
        for video in videos:
            whole = self.hold_out == "scenes" and video.scene is not None
            groups.setdefault(f"scene {video.scene}" if whole else video.id, []).append(video)
        held_out: set[str] = set()
        for name in sorted(groups, key=self._draw):
            if held_out and len(held_out) + len(groups[name]) / 2 > self.validation * len(videos):
                break
            held_out |= {video.id for video in groups[name]}
        if len(held_out) == len(videos):
            raise ConfigError(
                f"validation: a share of {self.validation} of {len(videos)} videos in {len(groups)} groups leaves "
                "nothing to learn from; give fewer, or hold_out: videos"
            )
        return [video for video in videos if video.id in held_out]

    def fit_videos(self) -> list[Video]:
        held_out = {video.id for video in self.validation_videos()}
        return [video for video in self._long_enough if video.id not in held_out]

    def score_videos(self) -> list[Video]:
        return []

    def score_record(self) -> Record:
        raise ConfigError(f"{type(self).__name__}: pretext tasks score no frames")

    # Which clips

    def clips(self, stage: int) -> DrawnClips:
        """The clips of a pass."""
        videos = self.fit_videos() if stage in (TRAINING, ESTIMATE) else self.validation_videos()
        return DrawnClips(
            self.rows(videos),
            [video.id for video in videos],
            self.row_counts(videos),
            np.array([-1 if video.label is None else video.label for video in videos], np.int64),
            cuts=[self.row_cuts(video) for video in videos],
            tasks=self.tasks,
            first=self.first if stage == TRAINING else (),
            first_pairs=self.first_steps * self._pairs if stage == TRAINING else 0,
            rules=self.rules,
            window=self.window,
            per_window=self.per_window,
            seed=self.seed,
            stage=stage,
            in_turn=0 if stage == TRAINING else self._listed_pairs(stage),
            on_broken=self.on_broken,
        )

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.clips(TRAINING), self._drawn_order())

    def batchnorm_dataloader(self) -> DataLoader:
        return self.loader(self.clips(TRAINING), self._drawn_order(once=True))

    def val_dataloader(self) -> DataLoader | list[Any]:
        if self.validation == 0:
            return []
        return self.loader(self.clips(VALIDATION), self._listed_order(VALIDATION))

    def test_dataloader(self) -> DataLoader:
        """Clips of the held-out videos that nothing was chosen by."""
        if self.validation == 0:
            raise ConfigError("validation: an encoder is tested on videos that it has not seen; hold some out")
        return self.loader(self.clips(TEST), self._listed_order(TEST))

    def estimate_dataloader(self) -> DataLoader:
        """As many clips of the videos that were learned from."""
        return self.loader(self.clips(ESTIMATE), self._listed_order(ESTIMATE))

    @property
    def _pairs(self) -> int:
        """Pairs of windows of a step, over all processes."""
        return self.batch_size // (2 * self.per_window)

    def _listed_pairs(self, stage: int) -> int:
        """Pairs of windows of a pass that ends."""
        if stage == VALIDATION:
            return -(-self.validation_clips // self.batch_size) * self._pairs  # processes share whole batches evenly
        return -(-self.test_clips // (2 * self.per_window))

    def _drawn_order(self, *, once: bool = False) -> DrawnOrder:
        """An epoch of the trainer is `checkpoint_every` steps; without it, as many as give each video one window."""
        rank, world = self._place()
        steps = self.checkpoint_every or max(1, len(self.fit_videos()) // (2 * self._pairs))
        return DrawnOrder(batch_size=self._pairs, steps=steps, rank=rank, world=world, once=once)

    def _listed_order(self, stage: int) -> BatchOrder:
        """What is validated on is summed up, so no clip may come twice; other passes are gathered by key."""
        rank, world = self._place()
        return BatchOrder(
            self._listed_pairs(stage),
            batch_size=self._pairs,
            shuffle=False,
            deal="split" if stage == VALIDATION else "whole",
            rank=rank,
            world=world,
        )
