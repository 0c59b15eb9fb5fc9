"""`vad sweep FILE`: the grid of a W&B sweep file, a run for each cell, several at a time, and their table."""

from argparse import ArgumentError, ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vad.errors import ConfigError, RunError

if TYPE_CHECKING:
    from vad.extract.launch import OnBroken
    from vad.runs import Settings
    from vad.sweeps import Cell, Outcome

USAGE = """usage: vad sweep FILE [--workers N] [--dry-run] [--processes N] [--device D] [--on_broken S] [options]

Carries out every cell of the grid in FILE, a W&B sweep configuration: 'wandb sweep FILE' and 'wandb agent' take the
same file. A cell is what 'vad run' makes of its options and of those given here, with a run folder of its own; what is
finished is skipped, and the same command continues. The table of all cells is printed, and written below
$VAD_RUNS/sweeps/.

--workers    cells at a time, each in a process that it keeps, as it keeps the data (1); they share the cores
--dry-run    print the cells and their folders, and do nothing
--processes, --device, --on_broken  as for 'vad extract', which comes first; cells train on the device too"""


def main(arguments: Sequence[str]) -> int:
    """Extract what all cells need, carry them out, and compare them; status 1 if a cell failed."""
    if not arguments or set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    if arguments[0].startswith("-"):
        raise ConfigError(f"the sweep file comes first: vad sweep FILE {' '.join(arguments)}")
    file = arguments[0]
    workers, dry_run, rest = _options(arguments[1:])

    from vad.cli.config_file import check_config_file
    from vad.cli.experiment import parse
    from vad.cli.extract import launch_options
    from vad.extract.pool import Pool
    from vad.runs import launched_from_outside
    from vad.sweeps import Work, read_sweep

    if launched_from_outside():
        raise ConfigError("vad sweep starts processes of its own; over machines use 'wandb sweep' and 'wandb agent'")
    processes, device, on_broken, more = launch_options(rest)
    check_config_file(file, option="FILE")
    sweep = read_sweep(file)
    cells = _cells(sweep.cells, more)
    todo = _unfinished(cells)
    if dry_run:
        for cell in cells:
            print(f"{cell.id}{'' if cell in todo else ' (finished)'}: vad run {' '.join(cell.words)}")
        return 0
    _extract(todo, cells, processes, device, on_broken)
    failed = []
    with Pool(Work(parse, sweep.name), processes=min(workers, len(todo)), device=device) as pool:
        for number, outcome in enumerate(pool.map(todo), 1):
            failed += [outcome] if outcome.error else []
            print(f"{number}/{len(todo)} {_line(outcome, cells[outcome.cell])}", flush=True)
    _compare(list(cells.values()), failed, Path(file).stem)
    return 1 if failed else 0


def _options(arguments: Sequence[str]) -> tuple[int, bool, list[str]]:
    """Split --workers and --dry-run from the other words."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--dry-run", "--dry_run", action="store_true")
    try:
        options, rest = parser.parse_known_args(arguments)
    except ArgumentError as error:
        raise ConfigError(f"{error.argument_name}: {error.message}") from None
    if options.workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {options.workers}")
    return options.workers, options.dry_run, rest


def _cells(commands: Sequence[Sequence[str]], more: Sequence[str]) -> "dict[Cell, Settings]":
    """Every cell with its settings: every mistake shows before the first hour of work."""
    from vad.cli.experiment import parse_settings
    from vad.cli.extract import launch_options
    from vad.cli.run import take_seeds, with_seed
    from vad.sweeps import Cell

    cells: dict[Cell, Settings] = {}
    named: dict[str, str] = {}
    for command in commands:
        seeds, options = take_seeds([*command, *more])
        options = launch_options(options)[-1]  # what belongs to extraction alone
        for seed in seeds:
            words = tuple(with_seed(options, seed))
            said = " ".join(words)
            try:
                settings = parse_settings(words)
            except ConfigError as error:
                raise ConfigError(f"the cell {said}: {error}") from None
            path = str(settings.folder.path)
            if path in named:
                raise ConfigError(f"two cells would be one run, {path}: {named[path]} and {said}")
            named[path] = said
            cells[Cell(path, words)] = settings
    return cells


def _unfinished(cells: "Mapping[Cell, Settings]") -> "list[Cell]":
    """The cells to carry out, those that read the same data one after another: a worker keeps the data of the last.

    Raises `RunError` for a folder that holds another run.
    """
    from vad.runs import decide
    from vad.sweeps import data_key

    todo = []
    for cell, settings in cells.items():
        decision = decide(settings.config, settings.folder)
        if decision.kind == "refuse" and not settings.fresh:
            raise RunError(decision.reason)
        if settings.fresh or decision.kind != "finished" or not settings.folder.metrics.is_file():
            todo.append(cell)
    keys = [data_key(cells[cell].config) for cell in todo]
    return [cell for _, cell in sorted(zip(map(keys.index, keys), todo, strict=True), key=lambda pair: pair[0])]


def _extract(
    todo: "Sequence[Cell]", cells: "Mapping[Cell, Settings]", processes: int, device: str, on_broken: "OnBroken"
) -> None:
    """Put into the cache what the cells read, once for each kind of data."""
    from vad.cli.experiment import parse
    from vad.cli.extract import carry_out
    from vad.sweeps import data_key

    done = set()
    for cell in {data_key(cells[cell].config): cell for cell in todo}.values():
        data = parse(cell.words).data
        recipes = data.recipes()
        job = (
            data.benchmark.dataset,
            *((recipe.key, *(video.id for video in data.needed(recipe))) for recipe in recipes),
        )
        if job not in done:
            carry_out(recipes, data.benchmark, data.needed, processes, device, on_broken)
            done.add(job)


def _line(outcome: "Outcome", settings: "Settings") -> str:
    from vad.cli.run import summary

    said = f"{outcome.cell.id}: failed: {outcome.error}" if outcome.error else summary(settings)
    return f"{said} ({outcome.seconds:.0f} s)"


def _compare(runs: "Sequence[Settings]", failed: "Sequence[Outcome]", name: str) -> None:
    """The table of all cells that were measured, with a line for each that failed."""
    from vad.cli.compare import report
    from vad.comparison.collect import read_run
    from vad.runs import runs_root

    measured = [read_run(settings.folder.path) for settings in runs if settings.folder.metrics.is_file()]
    notes = [f"{outcome.cell.id}: failed: {outcome.error}" for outcome in failed]
    report(measured, runs_root() / "sweeps" / name, notes)
