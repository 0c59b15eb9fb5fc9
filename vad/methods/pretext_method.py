"""The base of what learns pretext tasks: heads on an encoder, their losses and accuracies, and the encoder's file.

fit -> encoder.ckpt -> test: accuracy of each task on held-out videos, probes -> `vad extract features --encoder RUN`
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from vad.datamodules.pretext import TASKS, Task
from vad.datamodules.pretext_data import PretextData
from vad.distributed import summed, world_size
from vad.errors import ConfigError
from vad.training.batchnorm import synchronise_batchnorm
from vad.training.collecting import Collecting
from vad.types import ClipBatch

Probe = Literal["none", "frozen", "blank"]


class Seen(NamedTuple):
    """What an encoder is shown of a batch."""

    clips: Tensor  # as the encoder takes them
    valid: Tensor  # bool (B,): whether the class can be told from what is left of the clip


class PretextMethod(Collecting):
    """Pretext tasks with an encoder that outlives them. A subclass gives `seen`, `encoded`, `save_encoder`
    and `take_over`.

    Args:
        dim: Width of the encoder's vectors.
        tasks: What is learned; the data's tasks.
        speeds: How many speeds are told apart.
        task_weights: Weight of each task's loss; `None` for equal ones.
        both_ways: Learn each clip of the arrow forward and backward, side by side. Our choice: what else is in the
            clips cancels out, and the task is the hardest to begin with.
        hidden: Width of the heads' hidden layer.
        dropout: Before a head's last layer.
        optimizer: `sgd` with momentum 0.9, or `adamw`.
        learning_rate: At its peak; for `sgd` it suits a batch of 64.
        weight_decay: Not of biases and norms.
        warmup: Share of the steps in which the learning rate rises; then it falls to 0 as a cosine.
    """

    def __init__(
        self,
        *,
        dim: int,
        tasks: Sequence[Task] = ("order", "speed", "arrow", "change"),
        speeds: int = 4,
        task_weights: Mapping[str, float] | None = None,
        both_ways: bool = True,
        hidden: int = 256,
        dropout: float = 0.2,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        learning_rate: float = 0.01,
        weight_decay: float = 1e-4,
        warmup: float = 0.05,
    ) -> None:
        if not tasks or len(set(tasks)) < len(tasks) or not set(tasks) <= set(get_args(Task)):
            raise ConfigError(f"tasks: expected some of {', '.join(TASKS)}, each once, got {list(tasks)}")
        if task_weights is not None and set(task_weights) != set(tasks):
            raise ConfigError(f"task_weights: expected one for each of {', '.join(tasks)}, got {dict(task_weights)}")
        if hidden < 1 or not 0 <= warmup <= 1 or min(learning_rate, weight_decay) < 0:
            raise ConfigError(
                "expected hidden of at least 1, warmup from 0 to 1, learning_rate and weight_decay of at least 0, got "
                f"{hidden}, {warmup}, {learning_rate} and {weight_decay}"
            )
        super().__init__()
        self.dim = dim
        self.tasks = tuple(tasks)
        self.speeds = speeds
        self.task_weights = task_weights
        self.both_ways = both_ways
        self.hidden = hidden
        self.dropout = dropout
        self.optimizer: Literal["sgd", "adamw"] = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.heads = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Linear(dim, hidden),
                    nn.ReLU(inplace=True),
                    nn.Dropout(dropout),
                    nn.Linear(hidden, speeds if task == "speed" else 2),
                )
                for task in self.tasks
            }
        )
        self.probe: Probe = "none"  # what is done to the clips that `columns` sees
        self.broken: set[str] = set()  # videos that this process could not read
        self._learned: list[dict[str, Tensor]] = []
        self._validated: list[dict[str, Tensor]] = []

    # What a subclass gives

    @abstractmethod
    def seen(self, batch: ClipBatch, *, learning: bool) -> Seen:
        """Clips as the encoder takes them: augmented at random while learning, else always the same way.

        `self.probe` is obeyed: `frozen` repeats one frame, `blank` hides the middle, or everything where there is none.
        """

    @abstractmethod
    def encoded(self, clips: Tensor) -> Tensor:
        """Vectors (B, dim) of clips."""

    @abstractmethod
    def save_encoder(self, path: str | Path, data: PretextData, **about: Any) -> None:
        """Write what `vad.networks.encoder_files` reads.

        Args:
            path: The file.
            data: What was learned from; says how long clips are, and how large frames.
            about: Plain values that are kept in the file: the benchmark, the seed, the run.
        """

    @abstractmethod
    def take_over(self, path: str | Path) -> str:
        """Take over the encoder of another run's `encoder.ckpt`; says what matched."""

    # Learning

    def setup(self, stage: str) -> None:
        synchronise_batchnorm(self, self.trainer.strategy.root_device)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        loss, sums = self.terms(batch, learning=True)
        self._learned.append(sums)
        return loss

    def terms(self, batch: ClipBatch, *, learning: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and for each task sums over its valid clips: `<task>_loss`, `<task>` (told right), `<task>_count`.

        A task's loss is the mean over its valid clips in the batch of all processes.
        """
        self.broken |= set(batch.broken)
        clips, valid = self.seen(batch, learning=learning)
        tasks, targets = batch.task, batch.target
        if learning and self.both_ways:
            arrow = tasks == TASKS.index("arrow")
            clips = torch.cat([clips, clips[arrow].flip(2 if clips.ndim == 5 else 1)])
            valid, tasks = torch.cat([valid, valid[arrow]]), torch.cat([tasks, tasks[arrow]])
            targets = torch.cat([targets, 1 - targets[arrow]])
        vectors = self.encoded(clips)
        sums: dict[str, Tensor] = {}
        for task in self.tasks:
            of_task = tasks == TASKS.index(task)
            logits = self.heads[task](vectors[of_task]).float()
            target, counts = targets[of_task], valid[of_task].float()
            losses = functional.cross_entropy(logits, target, reduction="none") * counts
            sums[f"{task}_loss"] = losses.sum()
            sums[task] = ((logits.argmax(1) == target).float() * counts).sum()
            sums[f"{task}_count"] = counts.sum()
        loss = torch.stack(
            [self._weight(t) * sums[f"{t}_loss"] / self._everywhere(sums[f"{t}_count"]) for t in self.tasks]
        )
        return loss.sum(), {name: value.detach() for name, value in sums.items()}

    def _weight(self, task: str) -> float:
        return 1.0 if self.task_weights is None else self.task_weights[task]

    def _everywhere(self, count: Tensor) -> Tensor:
        """Clips of a process, on average over processes, over whose gradients the strategy takes the mean."""
        return summed(count).clamp(min=1) / world_size()

    def on_train_epoch_end(self) -> None:
        learned, self._learned = self._learned, []
        self.log_dict({**rates(learned, self.tasks), "broken": float(len(self.broken))})

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        self._validated.append(self.terms(batch, learning=False)[1])

    def on_validation_epoch_end(self) -> None:
        validated, self._validated = self._validated, []
        self.log_dict({f"val_{name}": value for name, value in rates(validated, self.tasks).items()})

    def columns(self, batch: ClipBatch) -> dict[str, Tensor]:
        """For each clip: the class `said` of its task, `target`, `task`, `video`, `label`, `valid` and `vector`."""
        self.broken |= set(batch.broken)
        clips, valid = self.seen(batch, learning=False)
        vectors = self.encoded(clips)
        said = torch.full_like(batch.target, -1)
        for task in self.tasks:
            of_task = batch.task == TASKS.index(task)
            said[of_task] = self.heads[task](vectors[of_task]).argmax(1)
        return {
            "said": said,
            "target": batch.target,
            "task": batch.task,
            "video": batch.video,
            "label": batch.label,
            "valid": valid.long(),
            "vector": vectors.float(),
        }

    def configure_optimizers(self) -> Any:
        decayed = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimizer: torch.optim.Optimizer
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, lr=self.learning_rate, momentum=0.9)
        else:
            optimizer = torch.optim.AdamW(groups, lr=self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)
        rise = max(1, round(self.warmup * steps))
        schedule = torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (rise + 1), total_iters=rise),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - rise)),
            ],
            [rise],
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def rates(batches: Sequence[Mapping[str, Tensor]], tasks: Sequence[str]) -> dict[str, float]:
    """Loss and accuracy of each task over all batches and processes, and `loss`, their losses' sum."""
    names = list(batches[0])
    sums = summed(torch.stack([torch.stack([batch[name] for batch in batches]).double().sum() for name in names]))
    total = dict(zip(names, sums.tolist(), strict=True))
    found: dict[str, float] = {}
    for task in tasks:
        if count := total[f"{task}_count"]:
            found[task] = total[task] / count
            found[f"{task}_loss"] = total[f"{task}_loss"] / count
    return {**found, "loss": sum(value for name, value in found.items() if name.endswith("_loss"))}
