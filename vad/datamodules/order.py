"""Which samples stand in which batch: a pure function of (seed, epoch), dealt out to processes.

    BatchOrder    samples -> shuffled inside their groups -> batches of one group -> interleaved -> dealt by rank
    PairedOrder   normal and abnormal bags -> shuffled each -> half a batch of both -> each half dealt by rank
    DrawnOrder    numbers of samples that are drawn, each from its number, without end -> dealt by rank

Use it as `DataLoader(dataset, sampler=BatchOrder(...), batch_size=None)`: the dataset is asked for a list of indices
and gathers the batch. Lightning calls `set_epoch` on a loader's `sampler`, but never on its `batch_sampler`.
"""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from vad.errors import ConfigError

logger = logging.getLogger(__name__)


class Share(list[int]):
    """Indices of a batch that one process gathers, and how many samples the batch has over all processes."""

    def __init__(self, indices: Iterable[int] = (), size: int | None = None) -> None:
        super().__init__(indices)
        self.size = len(self) if size is None else size


class Order(Sampler[list[int]]):
    """Lists of indices, one for each step of this process in the epoch that `set_epoch` chose."""

    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the trainer that the next iteration gives."""
        self.epoch = epoch

    @abstractmethod
    def __len__(self) -> int:
        """Steps of an epoch of the trainer."""


class BatchOrder(Order):
    """Lists of indices, one for each step of this process.

    Every batch is formed before it is dealt out, so that its content does not depend on the number of processes. A last
    batch that is not full is kept.

    - `deal="split"`, for training: each process takes its share of every batch. A batch with fewer samples than there
      are processes is left out on all of them, since each needs at least one.
    - `deal="whole"`, for scoring: batch k goes to process k mod `world`. Processes that would get one batch less than
      others repeat a batch; scores are gathered by key, which drops what came twice.

    Args:
        count: Number of samples.
        batch_size: Samples of a batch over all processes.
        seed: Seed of the order.
        shuffle: `True` for an order of each epoch, `"once"` for one shuffled order in all of them, `False` for batches
            that follow the samples (group by group).
        groups: Integer (count,): no batch mixes two groups, and batches of all groups are interleaved at random.
        deal: How batches are dealt out, see above.
        rank: The process that this order is for.
        world: The number of processes.
        steps: Cut training into epochs of at most so many steps, for checkpoints lie at their ends: epochs of samples
            follow one another as one stream, of which epoch e of the trainer holds the steps `e * steps` to `(e + 1) *
            steps`. `None`, or a number that an epoch of samples does not reach: an epoch of the trainer is one of
            samples.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool | Literal["once"] = True,
        groups: np.ndarray | None = None,
        deal: Literal["split", "whole"] = "split",
        rank: int = 0,
        world: int = 1,
        steps: int | None = None,
    ) -> None:
        if batch_size < 1 or (steps is not None and steps < 1):
            raise ConfigError(f"batch_size and checkpoint_every must be at least 1, got {batch_size} and {steps}")
        if deal == "split" and batch_size % world:
            raise ConfigError(
                f"batch_size: {batch_size} samples cannot be split evenly over {world} processes: give a multiple"
            )
        if groups is not None and len(groups) != count:
            raise ConfigError(f"groups: expected one for each of {count} samples, got {len(groups)}")
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.deal = deal
        self.rank = rank
        self.world = world
        self._members = (
            [np.arange(count)] if groups is None else [np.flatnonzero(groups == group) for group in np.unique(groups)]
        )
        smallest = world if deal == "split" else 1
        self.batches_per_epoch = sum(
            len(members) // batch_size + (len(members) % batch_size >= smallest) for members in self._members
        )
        if self.batches_per_epoch == 0:
            raise ConfigError(
                f"{count} samples give no batch for {world} processes: more samples or fewer processes are needed"
            )
        self.steps = self.batches_per_epoch if steps is None else min(steps, self.batches_per_epoch)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """All batches of an epoch of samples, before they are dealt out: indices int64, each (<= batch_size,)."""
        random = np.random.default_rng((self.seed, 0 if self.shuffle == "once" else epoch))
        members = [random.permutation(m) for m in self._members] if self.shuffle else self._members
        batches = [m[start : start + self.batch_size] for m in members for start in range(0, len(m), self.batch_size)]
        if self.deal == "split":
            batches = [batch for batch in batches if len(batch) >= self.world]
        if self.shuffle and len(members) > 1:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return batches

    def __len__(self) -> int:
        return self.steps if self.deal == "split" else -(-self.batches_per_epoch // self.world)

    def __iter__(self) -> Iterator[list[int]]:
        if self.deal == "whole":
            batches = self.batches(self.epoch)
            for step in range(len(self)):
                yield Share(batches[(step * self.world + self.rank) % len(batches)].tolist())
            return
        step, end = self.epoch * self.steps, (self.epoch + 1) * self.steps
        while step < end:
            epoch, offset = divmod(step, self.batches_per_epoch)
            for batch in self.batches(epoch)[offset : offset + end - step]:
                yield Share(batch[self.rank :: self.world].tolist(), len(batch))
                step += 1


class PairedOrder(Order):
    """Batches of half normal and half abnormal bags, normal ones first. Never ends: step s is a function of seed and s.

    Each half goes through its own bags in shuffled laps and drops what a lap leaves over, so that no bag is twice in a
    batch. Where a class has fewer bags than half a batch, both halves are cut to what it has: ShanghaiTech has 63
    abnormal training videos, and public code with 64 and `drop_last` trains on no batch at all.

    Args:
        label: Integer (count,): 0 normal, 1 abnormal.
        batch_size: Bags of a batch over all processes, even; each process takes its share of both halves.
        seed: Seed of the order.
        crops: Draw one of so many crops for each bag: indices are then `bag * crops + crop`.
        rank: The process that this order is for.
        world: The number of processes.
        steps: Steps of an epoch of the trainer, which holds the steps `epoch * steps` and on. `None` for a lap of the
            class with more bags.
        once: The first epoch every time.
    """

    def __init__(
        self,
        label: np.ndarray,
        *,
        batch_size: int,
        seed: int = 0,
        crops: int = 1,
        rank: int = 0,
        world: int = 1,
        steps: int | None = None,
        once: bool = False,
    ) -> None:
        if batch_size < 2 or batch_size % 2 or (steps is not None and steps < 1):
            raise ConfigError(
                f"batch_size: half a batch is normal, so it must be even, got {batch_size}"
                if batch_size % 2 or batch_size < 2
                else f"checkpoint_every must be at least 1, got {steps}"
            )
        if batch_size // 2 % world:
            raise ConfigError(
                f"batch_size: half of {batch_size} bags cannot be split evenly over {world} processes: give a multiple "
                f"of {2 * world}"
            )
        self.seed = seed
        self.crops = crops
        self.rank = rank
        self.world = world
        self.once = once
        self._members = (np.flatnonzero(label == 0), np.flatnonzero(label == 1))
        normal, abnormal = (len(members) for members in self._members)
        self.half = min(batch_size // 2, normal, abnormal) // world * world
        if self.half == 0:
            raise ConfigError(
                f"{normal} normal and {abnormal} abnormal bags give no batch of both for {world} processes: more "
                "videos or fewer processes are needed"
            )
        if self.half < batch_size // 2 and rank == 0:
            _warn_once(
                f"batch_size: {normal} normal and {abnormal} abnormal bags do not fill two halves of "
                f"{batch_size // 2}; a batch holds {self.half} of each"
            )
        self.steps = max(normal, abnormal) // self.half if steps is None else steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        first = 0 if self.once else self.epoch * self.steps
        for step in range(first, first + self.steps):
            bags = np.stack([self._half(side, step) for side in (0, 1)])  # (2, half)
            if self.crops > 1:
                drawn = np.random.default_rng((self.seed, 2, step)).integers(0, self.crops, bags.shape)
                bags = bags * self.crops + drawn
            yield Share(bags[:, self.rank :: self.world].ravel().tolist(), bags.size)

    def _half(self, side: int, step: int) -> np.ndarray:
        members = self._members[side]
        lap, offset = divmod(step, len(members) // self.half)
        order = np.random.default_rng((self.seed, side, lap)).permutation(members)
        return order[offset * self.half : (offset + 1) * self.half]


class DrawnOrder(Order):
    """Numbers of samples that are not listed but drawn, each from its number: step s holds `s * batch_size` and on.

    Args:
        batch_size: Numbers of a step over all processes.
        steps: Steps of an epoch of the trainer, which holds the steps `epoch * steps` and on.
        rank: The process that this order is for.
        world: The number of processes.
        once: The first epoch every time.
    """

    def __init__(self, *, batch_size: int, steps: int, rank: int = 0, world: int = 1, once: bool = False) -> None:
        if batch_size % world:
            raise ConfigError(
                f"batch_size: {batch_size} groups of samples cannot be split evenly over {world} processes: give a "
                "multiple"
            )
        self.batch_size = batch_size
        self.steps = steps
        self.rank = rank
        self.world = world
        self.once = once

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        first = 0 if self.once else self.epoch * self.steps
        for step in range(first, first + self.steps):
            numbers = range(step * self.batch_size, (step + 1) * self.batch_size)
            yield Share(numbers[self.rank :: self.world], self.batch_size)


@cache
def _warn_once(message: str) -> None:
    """Several loaders have the same order."""
    logger.warning(message)


def evenly_spaced(count: int, at_most: int | None) -> np.ndarray:
    """At most so many of `count` indices, int64, ascending and evenly spaced; all of them for `None`."""
    kept = count if at_most is None else min(count, at_most)
    return np.arange(kept, dtype=np.int64) * count // max(kept, 1)
