"""`vad data check` says what of a benchmark is there, missing or broken; `vad data make` renders one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Protocol, runtime_checkable

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from vad.benchmarks import Benchmark
from vad.cli.benchmark_option import add_benchmark, parse_benchmark
from vad.errors import ConfigError, DataError
from vad.types import Report

USAGE = """usage: vad data check --benchmark B [--json] [--decode]
       vad data make --benchmark B

check   compare what is there with what is published, down to single frames and masks
make    render a benchmark that is generated

'vad data check --help' says more."""


def main(arguments: Sequence[str]) -> None:
    """Run `check` or `make`."""
    actions = {"check": check, "make": make}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] not in actions:
        raise ConfigError(f"expected check or make, got '{arguments[0]}'; 'vad data --help' says more")
    actions[arguments[0]](arguments[1:])


def check(arguments: Sequence[str]) -> None:
    """Print the report of `Benchmark.check`; raises `DataError` where it names problems."""
    parser = ArgumentParser(
        prog="vad data check",
        description="Compare a benchmark with what is published of it. The exit status is 0 when nothing is wrong.",
        exit_on_error=False,
    )
    add_benchmark(parser)
    parser.add_argument("--json", action="store_true", help="Print the report as JSON.")
    parser.add_argument(
        "--decode", action="store_true", help="Decode every video file to its end; images are always decoded."
    )
    options = parse_benchmark(parser, arguments)
    report = options.benchmark.check(decode=options.decode)
    if options.json:
        print(json.dumps({"ok": report.ok, **asdict(report)}, indent=2, ensure_ascii=False))
    else:
        print_report(report)
    if not report.ok:
        count = f"{len(report.problems)} problem{'s' if len(report.problems) > 1 else ''}"
        raise DataError(f"{report.benchmark} has {count} below {report.root}, listed above")


def make(arguments: Sequence[str]) -> None:
    """Render a generated benchmark; raises `ConfigError` for one that is not."""
    parser = ArgumentParser(
        prog="vad data make", description="Render a benchmark that is generated.", exit_on_error=False
    )
    add_benchmark(parser)
    benchmark: Benchmark = parse_benchmark(parser, arguments).benchmark
    if not isinstance(benchmark, Generated):
        raise ConfigError(f"{benchmark.name} is not generated: its files come from its authors")
    with Progress(console=Console(stderr=True)) as bars:
        bar = bars.add_task(benchmark.dataset, total=None)
        rendered = benchmark.make(progress=lambda done, total: bars.update(bar, completed=done, total=total))
    print(f"{benchmark.name}: {rendered} videos rendered in {benchmark.root}")


@runtime_checkable
class Generated(Protocol):
    """A benchmark that renders its own videos."""

    def make(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Render what is missing and say how much that was; `progress` is told what is there and what there will be."""


def print_report(report: Report) -> None:
    """A table with a column for each split, then each problem and each note on a line of its own."""
    table = Table(title=f"{report.benchmark}: {report.root}", title_justify="left")
    table.add_column("")
    for split in report.counts:
        table.add_column(split, justify="right")
    for name in dict.fromkeys(name for counts in report.counts.values() for name in counts):
        figures = (f"{counts[name]:,}" if name in counts else "" for counts in report.counts.values())
        table.add_row(name.replace("_", " "), *figures)
    Console().print(table)
    for problem in report.problems:
        print(f"problem: {problem}")
    for note in report.notes:
        print(f"note: {note}")
    if report.ok:
        print("nothing is wrong")
