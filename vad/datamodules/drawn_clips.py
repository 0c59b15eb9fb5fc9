"""Clips of pretext tasks, drawn from pairs of windows: a function of (seed, pass, number of the pair).

number -> two videos, a window of each -> clips of both, each with a task -> the frames they need, read once -> batch
"""

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from vad.datamodules.clip_frames import ClipFrames
from vad.datamodules.order import Share, evenly_spaced
from vad.datamodules.pretext import TASKS, Rules, Task, Window, draw
from vad.errors import DataError, VideoError
from vad.types import ClipBatch

ATTEMPTS = 20  # pairs that are drawn in place of one with a broken video


class DrawnClips(Dataset[ClipBatch]):
    """Asked for a list of numbers of pairs, gives the clips of all of them, in this order.

    Args:
        rows: Where frames, or snippets, are read.
        ids: Names of the videos, for what is said of broken ones.
        lengths: int64 (v,), frames of each video.
        labels: int64 (v,), 0 normal, 1 abnormal, -1 unknown.
        cuts: Frames, or snippets, of each video at which material was joined: no window crosses one.
        tasks: What clips carry in turn.
        first: What clips carry in the first `first_pairs` pairs instead.
        first_pairs: See `first`.
        rules: How a clip is drawn.
        window: Frames of a window, as far as a video has them.
        per_window: Clips of a window.
        seed: Seed of everything.
        stage: Another number gives other draws: one for each pass.
        in_turn: Pairs of the pass. Videos, or what lies between their cuts, are taken in turn instead of drawn, so that
            each gives equally many clips; where there are more of them than pairs, evenly spaced ones. 0 to draw.
        on_broken: `stop` raises at a video that cannot be read; `skip` draws another pair, and the batch names it.
    """

    def __init__(
        self,
        rows: ClipFrames,
        ids: Sequence[str],
        lengths: np.ndarray,
        labels: np.ndarray,
        *,
        cuts: Sequence[Sequence[int]] = (),
        tasks: Sequence[Task],
        first: Sequence[Task] = (),
        first_pairs: int = 0,
        rules: Rules,
        window: int,
        per_window: int,
        seed: int,
        stage: int,
        in_turn: int = 0,
        on_broken: Literal["stop", "skip"] = "stop",
    ) -> None:
        self.rows = rows
        self.ids = tuple(ids)
        shortest = max(rules.needs(task) for task in tasks)
        self.takes = [
            Take(video, start, stop)
            for video, (length, its_cuts) in enumerate(zip_longest(lengths.tolist(), cuts, fillvalue=()))
            for start, stop in pairwise((0, *its_cuts, length))
            if stop - start >= shortest
        ]
        self.labels = labels
        self.tasks = tuple(tasks)
        self.first = tuple(first)
        self.first_pairs = first_pairs
        self.rules = rules
        self.window = window
        self.per_window = per_window
        self.seed = seed
        self.stage = stage
        self.turns = evenly_spaced(len(self.takes), in_turn)
        self.on_broken = on_broken

    def __getitem__(self, pairs: Sequence[int]) -> ClipBatch:
        together = 2 * self.per_window
        read, broken = [], dict[str, None]()
        for pair in pairs:
            read.append(self._pair(pair, broken))
        clips = np.empty((len(read), together, *read[0].frame.shape[1:], *read[0].rows.shape[1:]), read[0].rows.dtype)
        for of_pair, out in zip(read, clips, strict=True):
            np.take(of_pair.rows, of_pair.frame, axis=0, out=out, mode="clip")  # the default mode copies twice
        videos = np.concatenate([of_pair.video for of_pair in read])
        return ClipBatch(
            clips=torch.from_numpy(clips.reshape(-1, *clips.shape[2:])),
            task=torch.from_numpy(np.concatenate([of_pair.task for of_pair in read])),
            target=torch.from_numpy(np.concatenate([of_pair.target for of_pair in read])),
            video=torch.from_numpy(videos),
            label=torch.from_numpy(self.labels[videos]),
            key=torch.from_numpy((np.asarray(pairs)[:, None] * together + np.arange(together)).reshape(-1)),
            broken=tuple(broken),
            size=together * (pairs.size if isinstance(pairs, Share) else len(pairs)),
        )

    def _pair(self, pair: int, broken: dict[str, None]) -> "Pair":
        """The clips of a pair of windows; names of videos that could not be read are put into `broken`."""
        for attempt in range(ATTEMPTS):
            found = self._attempt(pair, attempt, broken)
            if found is not None:
                return found
        raise DataError(f"{ATTEMPTS} pairs of videos in a row could not be read, among them {', '.join(broken)}")

    def _attempt(self, pair: int, attempt: int, broken: dict[str, None]) -> "Pair | None":
        random = np.random.default_rng((self.seed, self.stage, pair, attempt))
        count = len(self.takes)
        in_turn = len(self.turns) > 0 and attempt == 0
        first = int(self.turns[pair % len(self.turns)]) if in_turn else int(random.integers(count))
        second = (first + int(random.integers(1, count))) % count if count > 1 else first
        takes = self.takes[first], self.takes[second]
        sizes = [min(self.window, take.stop - take.start) for take in takes]
        starts = [int(random.integers(t.start, t.stop - size + 1)) for t, size in zip(takes, sizes, strict=True)]
        windows = Window(0, sizes[0]), Window(sizes[0], sum(sizes))  # in one count of the frames of both
        tasks = self.first if pair < self.first_pairs else self.tasks
        number = np.arange(2 * self.per_window)
        task = np.array([TASKS.index(tasks[n % len(tasks)]) for n in len(number) * pair + number])
        own = number // self.per_window
        apart = (starts[1] - starts[0], starts[0] - starts[1]) if first == second else (None, None)
        drawn = [
            draw(TASKS[t], windows[o], windows[1 - o], self.rules, random, apart=apart[o])
            for t, o in zip(task, own, strict=True)
        ]
        frames = np.stack([clip.frames for clip in drawn])
        needed = np.unique(frames)
        rows = []
        for take, window, start in zip(takes, windows, starts, strict=True):
            inside = needed[(needed >= window.start) & (needed < window.stop)]
            try:
                rows.append(self.rows.read(take.video, inside - window.start + start))
            except VideoError:
                if self.on_broken == "stop":
                    raise
                broken[self.ids[take.video]] = None
                return None
        return Pair(
            rows=np.concatenate(rows),
            frame=np.searchsorted(needed, frames),
            task=task,
            target=np.array([clip.target for clip in drawn]),
            video=np.array([take.video for take in takes])[own],
        )


class Take(NamedTuple):
    """Frames [start, stop) of a video that were taken in one go."""

    video: int
    start: int
    stop: int


class Pair(NamedTuple):
    """Clips of two windows: what was read, and which of it each clip holds."""

    rows: np.ndarray  # (n, h, w, 3) uint8, or (n, D) float16
    frame: np.ndarray  # int64 (2 per_window, T), into `rows`
    task: np.ndarray  # int64 (2 per_window,)
    target: np.ndarray  # int64 (2 per_window,)
    video: np.ndarray  # int64 (2 per_window,)
