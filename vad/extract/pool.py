"""Processes that share out items: each loads once, asks for the next item when it is free, and ends with its parent."""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from vad.errors import VadError

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Loads(Protocol[Item_contra, Result_co]):
    """Work that can be sent to a process and begun there."""

    def load(self, device: str) -> Callable[[Item_contra], Result_co]:
        """Load what the work needs, once for each process."""


class Pool(Generic[Item, Result]):
    """Carry out `work` on items, in this process (`processes` 0 or 1) or in processes of their own.

    Processes are spawned, since readers and devices do not survive a fork. Each has a pipe of its own, so that it sees
    its parent end, however that came about, and stops after the item at hand. What one raises stops the others.
    """

    def __init__(self, work: Loads[Item, Result], *, processes: int, device: str) -> None:
        self._work = work
        self._processes = processes
        self._device = device
        self._children: list[Any] = []  # spawn's Process is a class of its context

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.join()
        self._children = []

    def map(self, items: Sequence[Item]) -> Iterator[Result]:
        """Results in the order in which they are ready; items are begun in the order given."""
        if not items:
            return
        if self._processes <= 1:
            compute = self._work.load(self._device)
            yield from (compute(item) for item in items)
            return
        waiting = list(reversed(items))
        pipes = [self._start(index) for index in range(self._processes)]
        at_hand: dict[Connection, Item | None] = dict.fromkeys(pipes)
        while at_hand:
            for pipe in [pipe for pipe in wait(list(at_hand)) if isinstance(pipe, Connection)]:
                kind, value = self._receive(pipe, at_hand[pipe])
                if kind == "result":
                    yield value
                if waiting:
                    at_hand[pipe] = waiting.pop()
                    self._send(pipe, at_hand[pipe])
                else:
                    del at_hand[pipe]
                    pipe.close()

    def _receive(self, pipe: Connection, at_hand: Item | None) -> tuple[str, Any]:
        try:
            kind, value = pipe.recv()
        except (EOFError, ConnectionError):
            raise _ended(at_hand) from None
        if kind == "error":
            raise value
        return kind, value

    def _send(self, pipe: Connection, item: Item | None) -> None:
        try:
            pipe.send(item)
        except ConnectionError:
            raise _ended(item) from None

    def _start(self, index: int) -> Connection:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        threads = max(1, cores() // self._processes)
        child = context.Process(
            target=_serve, args=(self._work, nth_device(self._device, index), threads, there), daemon=True
        )
        child.start()
        there.close()  # so that the child's end is the only one, and its death is seen here
        self._children.append(child)
        return here


def _ended(item: object) -> VadError:
    name = getattr(item, "id", "its first video")
    return VadError(
        f"a process ended without a word, at work on {name}: it was killed or ran out of memory; try fewer processes"
    )


def _serve(work: Loads[Any, Any], device: str, threads: int, pipe: Connection) -> None:
    """The body of a process: ready, item, result, item, result, until the parent closes the pipe or is gone."""
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    try:
        compute = work.load(device)
        pipe.send(("ready", None))
        while True:
            item = pipe.recv()
            pipe.send(("result", compute(item)))
    except (EOFError, ConnectionError):
        return
    except (VadError, OSError) as error:
        pipe.send(("error", error))
    except Exception:
        pipe.send(("error", RuntimeError(f"a process failed:\n{traceback.format_exc()}")))


def nth_device(device: str, index: int) -> str:
    """The device of a process: `cuda` without a number is dealt out in turn."""
    import torch

    if device == "cuda" and torch.cuda.device_count() > 0:
        return f"cuda:{index % torch.cuda.device_count()}"
    return device


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
