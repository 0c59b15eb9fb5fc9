"""What passes between the processes of one training: tensors, never pickles."""

from collections.abc import Mapping
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes; 1 where none were started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def leave() -> None:
    """Leave the group of processes, if this one is in any: now and then gloo's threads abort a process at its exit."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes; itself where there is one. No gradient passes."""
    if world_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return summed(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return summed(gradient)


def summed_with_gradient(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes; what each of them makes of it comes back as gradient.

    Every process must use the sum in its loss: the way back is a sum over all of them too.
    """
    if world_size() == 1:
        return values
    return cast(Tensor, _Summed.apply(values))  # type: ignore[no-untyped-call]  # torch has no types here


def gather_by_key(columns: Mapping[str, Tensor], key: Tensor) -> dict[str, Tensor]:
    """Bring the columns of all processes together on each of them, one row for each key, ascending.

    Args:
        columns: Name -> (n, ...), with the same names and row shapes everywhere; n may differ, and may be 0.
        key: int64 (n,). Rows of a key that occurs more than once must be equal: one of them stays.

    Returns:
        The columns, with the keys as `key`.
    """
    gathered = {name: concatenated(column) for name, column in (*columns.items(), ("key", key))}
    keys, order = torch.sort(gathered["key"], stable=True)
    first = torch.ones_like(keys, dtype=torch.bool)
    first[1:] = keys[1:] != keys[:-1]
    return {name: column[order[first]] for name, column in gathered.items()}


def concatenated(rows: Tensor) -> Tensor:
    """Rows of all processes in order of rank: padded to the longest, since collectives want equal shapes."""
    if world_size() == 1:
        return rows
    if rows.dtype == torch.int16:  # neither Gloo nor NCCL passes it
        return concatenated(rows.int()).short()
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    lengths = [int(count) for count in counts]
    padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])
