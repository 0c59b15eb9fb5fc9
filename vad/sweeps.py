"""A sweep: the grid of a W&B sweep file, carried out by workers that keep their process and their data.

    file -> cells -> a worker's process: parse, fit, finish, test; the next cell

A cell is the words of one `vad run`, and becomes the run that `vad run` would make of them: the same folder, the same
identity. So what is finished is skipped, and what is not continues, whoever began it.
"""

import gc
import itertools
import json
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from vad import stages
from vad.datamodules.video_data import VideoData
from vad.errors import ConfigError, VadError
from vad.runs import claim
from vad.stages import Experiment

ELSEWHERE = "vad sweep carries out grids of values; 'wandb sweep' takes the same file"

# Keys of a sweep file. Those with a reason cannot be carried out here, the others are W&B's own or read below.
_KEYS = ("command", "description", "entity", "method", "metric", "name", "parameters", "program", "project")
_REFUSED = {
    "early_terminate": "needs runs that report to a server while they train",
    "run_cap": "would leave out cells, and which ones is the server's choice",
}


class Sweep(NamedTuple):
    """What a sweep file asks for."""

    name: str  # the file's `name`, else its stem
    cells: tuple[tuple[str, ...], ...]  # the words behind `vad run` of each


def read_sweep(path: str | Path) -> Sweep:
    """The cells of a W&B sweep file, the last parameter changing fastest; anything but a grid is a `ConfigError`."""
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    for key in content:
        if key in _REFUSED:
            raise ConfigError(f"{path}: {key} {_REFUSED[key]}; {ELSEWHERE}")
        if key not in _KEYS:
            raise ConfigError(f"{path}: a sweep takes no '{key}', only {', '.join(_KEYS)}")
    if content.get("method") != "grid":
        raise ConfigError(f"{path}: method: expected grid, got {content.get('method')}; {ELSEWHERE}")
    command = content.get("command")
    if not isinstance(command, list):
        raise ConfigError(
            f'{path}: command: expected a list such as ["${{env}}", "vad", "run", "--config", FILE, "${{args}}"]'
        )
    try:
        before, after = _around_arguments([str(word) for word in command])
        cells = tuple((*before, *map(_word, cell.items()), *after) for cell in grid(content.get("parameters")))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return Sweep(str(content.get("name") or Path(path).stem), cells)


def grid(parameters: Any, path: str = "parameters") -> list[dict[str, Any]]:
    """Every combination of the values of W&B's `parameters`, as name -> value; nested ones become mappings."""
    if not isinstance(parameters, Mapping) or not parameters:
        raise ConfigError(f"{path}: expected names with a value or values each")
    choices = [_choices(parameter, f"{path}.{name}") for name, parameter in parameters.items()]
    return [dict(zip(map(str, parameters), chosen, strict=True)) for chosen in itertools.product(*choices)]


def _choices(parameter: Any, path: str) -> list[Any]:
    if isinstance(parameter, Mapping):
        match {key: value for key, value in parameter.items() if key != "distribution"}:
            case {"parameters": nested, **more} if not more:
                return list(grid(nested, f"{path}.parameters"))
            case {"value": value, **more} if not more:
                return [value]
            case {"values": [_, *_] as values, **more} if not more:
                return values
    raise ConfigError(f"{path}: expected 'value', a list of 'values', or nested 'parameters'; {ELSEWHERE}")


def _word(pair: tuple[str, Any]) -> str:
    """An argument as W&B's agent writes it: in Python's spelling, which the parser of experiments reads too."""
    return f"--{pair[0]}={pair[1]}"


def _around_arguments(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before and behind `${args}` in the words that follow `vad run`."""
    starts = [i + 2 for i, pair in enumerate(itertools.pairwise(command)) if _is_vad(pair[0]) and pair[1] == "run"]
    words = list(command[starts[0] :]) if starts else []
    if words.count("${args}") != 1:
        raise ConfigError("command: expected 'vad', 'run', the options of all cells, and ${args} once")
    if macros := [word for word in words if word.startswith("${") and word != "${args}"]:
        raise ConfigError(f"command: of W&B's macros only ${{args}} may follow 'vad run', found {macros[0]}")
    place = words.index("${args}")
    return words[:place], words[place + 1 :]


def _is_vad(word: str) -> bool:
    return Path(word).name in ("vad", "vad.cli.main")


class Cell(NamedTuple):
    """One run of a sweep."""

    id: str  # the path of its folder
    words: tuple[str, ...]  # of `vad run`, without options of extraction


class Outcome(NamedTuple):
    """What became of a cell."""

    cell: Cell
    seconds: float
    error: str | None = None  # why it failed, in a line


@dataclass(frozen=True)
class Work:
    """What a worker does; give it to a `Pool` of cells.

    Args:
        parse: From the words of a cell to its experiment.
        group: The name that the runs share in W&B.
    """

    parse: Callable[[Sequence[str]], Experiment]
    group: str

    def load(self, device: str) -> Callable[[Cell], Outcome]:
        """Begin in this process, which ends with the one that started it, even if that was killed."""
        parent = multiprocessing.parent_process()
        if parent is not None:
            threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # that a training ended is the sweep's to say
        return Worker(self.parse, self.group, device)


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)  # as if killed, which a run survives


class Worker:
    """Carries out one cell after another, and keeps the data of the last one for the next."""

    def __init__(self, parse: Callable[[Sequence[str]], Experiment], group: str, device: str) -> None:
        self.parse = parse
        self.group = group
        self.device = device
        self._data: tuple[str, VideoData] | None = None

    def __call__(self, cell: Cell) -> Outcome:
        started, error = time.perf_counter(), None
        try:
            with _as_in_a_process_of_its_own():
                self._carry_out(cell)
        except VadError as failure:
            error = str(failure)
        except Exception as failure:
            error = f"{type(failure).__name__}: {' '.join(str(failure).split())} (vad run shows where)"
        return Outcome(cell, time.perf_counter() - started, error)

    def _carry_out(self, cell: Cell) -> None:
        experiment = self._prepared(self.parse(cell.words))
        folder, decision = claim(experiment.settings)
        try:
            if decision.kind != "finished":
                trainer = stages.fit(experiment, folder)
                stages.finish(experiment, folder, trainer)
            stages.test(experiment, folder, folder)
        finally:
            experiment.data.trainer = None  # holds model and optimiser

    def _prepared(self, experiment: Experiment) -> Experiment:
        data = experiment.data
        key = data_key(experiment.config)
        if self._data is not None and self._data[0] == key:
            self._data[1].seed = data.seed
            data = self._data[1]
        self._data = key, data
        if multiprocessing.current_process().daemon:
            data.num_workers = 0  # a worker may start no processes; batches do not depend on it
        accelerator = experiment.config["trainer"].get("accelerator")
        alone: dict[str, Any] = {"strategy": "auto", "num_nodes": 1, "enable_progress_bar": False}
        if self.device == "cpu" or accelerator == "cpu":
            alone |= {"accelerator": "cpu", "devices": 1}
        else:
            alone |= {"accelerator": "gpu", "devices": [int(self.device.partition(":")[2] or 0)]}
        return replace(
            experiment,
            data=data,
            settings=replace(experiment.settings, group=self.group),
            trainer=partial(experiment.trainer, **alone, enable_model_summary=False),
        )


def data_key(config: Mapping[str, Any]) -> str:
    """What two runs must share to use one datamodule: all of its configuration but the seed.

    The seed counts too where videos are held out by it.
    """
    data = {**config["data"], "init_args": dict(config["data"].get("init_args") or {})}
    if not data["init_args"].get("validation"):
        data["init_args"].pop("seed", None)
    return json.dumps(data, sort_keys=True, default=str)


@contextmanager
def _as_in_a_process_of_its_own() -> Iterator[None]:
    """Take back what a run may set for the whole process, so that the next one finds what it would find alone."""
    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, dtype = torch.backends.cudnn.benchmark, torch.get_default_dtype()
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
        torch.backends.cudnn.benchmark = benchmark
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(threads)
        if "wandb" in sys.modules and (run := sys.modules["wandb"].run) is not None:  # a cell that failed left it open
            run.finish(exit_code=1)
        gc.collect()
        torch.cuda.empty_cache()  # nothing where no GPU was used
