"""The four pretext tasks on the time of a clip, as pure functions: which frames, and what is to be told of them.

    order    four blocks of four frames, as they were or permuted           valid 1, permuted 0
    speed    frames at one of several steps                                 which of them
    arrow    forward or backward                                            backward 1
    change   one clip, or another from some frame on                        changed 1

A reconstruction of the tasks that the abstract of the anomaly-aware SSL paper (CVIU 257, 2025, 104379) names: temporal
order verification, speed prediction, arrow of time prediction, abrupt change detection. How they are drawn: our choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, NamedTuple, get_args

import numpy as np

from vad.errors import ConfigError

Task = Literal["order", "speed", "arrow", "change"]

TASKS: tuple[Task, ...] = get_args(Task)
BLOCKS = 4  # of a clip whose order is to be verified
# Without the whole and its reversal, which is the arrow's: blocks themselves still run forward.
SHUFFLES = tuple(p for p in permutations(range(BLOCKS)) if p not in ((0, 1, 2, 3), (3, 2, 1, 0)))


@dataclass(frozen=True)
class Window:
    """Frames [start, stop) that clips are cut from."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Rules(NamedTuple):
    """How clips are drawn.

    Args:
        length: Frames of a clip, a multiple of four.
        speeds: Steps between frames that are to be told apart.
        steps: Steps between frames in the other tasks, drawn anew for each clip.
        gap: Frames at least that a change jumps over, in either direction.
        jumps: Share of changes that stay in their video; the others go to another one, as do all where a window is too
            short to jump.
    """

    length: int = 16
    speeds: tuple[int, ...] = (1, 2, 4, 8)
    steps: tuple[int, ...] = (1, 2)
    gap: int = 64
    jumps: float = 0.5

    def classes(self, task: Task) -> int:
        """Classes of a task."""
        return len(self.speeds) if task == "speed" else 2

    def needs(self, task: Task) -> int:
        """Frames that a window must have, whatever is drawn: else what is drawn would follow from its length."""
        widest = max(self.speeds) if task == "speed" else min(self.steps)
        return widest * (self.length - 1) + 1


class Drawn(NamedTuple):
    """Frames of a clip, int64 (T,), and the class of its task."""

    frames: np.ndarray
    target: int


def in_order(start: int, step: int, length: int) -> np.ndarray:
    """Frames int64 (length,) from `start` on."""
    return start + step * np.arange(length, dtype=np.int64)


def permuted(frames: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Blocks of a clip in another order: block m of the result is block `order[m]`."""
    return frames.reshape(len(order), -1)[list(order)].reshape(-1)


def spliced(frames: np.ndarray, cut: int, second: int, step: int) -> np.ndarray:
    """The first `cut` frames, then those from `second` on."""
    return np.concatenate([frames[:cut], in_order(second, step, len(frames) - cut)])


def draw(
    task: Task,
    window: Window,
    other: Window,
    rules: Rules,
    random: np.random.Generator,
    *,
    apart: int | None = None,
) -> Drawn:
    """A clip of a window for a task.

    Args:
        task: What is to be told.
        window: What the clip is cut from.
        other: A window of another video, for changes that leave this one.
        rules: How clips are drawn.
        random: What they are drawn by.
        apart: Frames from the start of `window` to that of `other`, where there is no other video: a change then jumps
            over as much of `rules.gap` as the video has.

    Raises:
        ConfigError: A window is shorter than the task needs.
    """
    shorter = min(len(window), len(other))
    if shorter < rules.needs(task):
        raise ConfigError(f"{task}: needs {rules.needs(task)} frames, and the window has {shorter}")
    if task == "speed":
        target = int(random.integers(len(rules.speeds)))
        return Drawn(_placed(window, rules.speeds[target], rules.length, random), target)
    fitting = [step for step in rules.steps if step * (rules.length - 1) < shorter]
    step = int(random.choice(fitting))
    frames = _placed(window, step, rules.length, random)
    target = int(random.integers(2))
    if task == "order":
        return Drawn(frames if target else permuted(frames, SHUFFLES[random.integers(len(SHUFFLES))]), target)
    if task == "arrow":
        return Drawn(frames[::-1].copy() if target else frames, target)
    return Drawn(_changed(frames, step, window, other, rules, random, apart) if target else frames, target)


def _placed(window: Window, step: int, length: int, random: np.random.Generator) -> np.ndarray:
    return in_order(int(random.integers(window.start, window.stop - step * (length - 1))), step, length)


def _changed(
    frames: np.ndarray,
    step: int,
    window: Window,
    other: Window,
    rules: Rules,
    random: np.random.Generator,
    apart: int | None,
) -> np.ndarray:
    cut = int(random.integers(rules.length // 4, 3 * rules.length // 4 + 1))
    span = step * (rules.length - cut - 1) + 1  # frames that the second part reaches over
    next_one = frames[0] + step * cut  # where the clip would go on
    starts = np.arange(window.start, window.stop - span + 1)
    far = starts[np.abs(starts - next_one) >= rules.gap]
    if len(far) and random.random() < rules.jumps:
        return spliced(frames, cut, int(random.choice(far)), step)
    if apart is not None:
        starts = np.arange(other.start, other.stop - span + 1)
        jumped = np.abs((starts - other.start) + apart - (next_one - window.start))
        return spliced(frames, cut, int(random.choice(starts[jumped >= min(rules.gap, jumped.max())])), step)
    return spliced(frames, cut, int(random.integers(other.start, other.stop - span + 1)), step)
