"""`vad evaluate SCORES --benchmark B`: metrics of any scores, also of other people's."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from vad.cli.benchmark_option import add_benchmark, parse_benchmark
from vad.errors import ConfigError
from vad.types import PROTOCOLS

if TYPE_CHECKING:
    from vad.evaluation import Estimate, Metrics

DESCRIPTION = """Metrics of a scores file, or of scores of frames that another program wrote: a folder with one .npy
for each video, one .npy with all videos in the benchmark's order, or a CSV file of video, frame, score."""


def main(arguments: Sequence[str]) -> None:
    """Evaluate scores, print a table or JSON, and write metrics.json where asked."""
    from vad import files
    from vad.benchmarks import Grid
    from vad.evaluation import evaluate
    from vad.scores import Scores, foreign_scores

    parser = ArgumentParser(prog="vad evaluate", description=DESCRIPTION, exit_on_error=False)
    parser.add_argument("scores", metavar="SCORES", help="A scores.npz, a folder of .npy, one .npy, or a .csv.")
    add_benchmark(parser)
    parser.add_argument(
        "--protocol", choices=list(PROTOCOLS), help="What was learned from; by default what the scores file says."
    )
    parser.add_argument(
        "--grid", choices=list(get_args(Grid)), help="Lengths to compare at; by default the benchmark's."
    )
    parser.add_argument("--fusion", choices=["single", "mean", "zscore"], help="Fuse the heads anew.")
    parser.add_argument("--weights", metavar="HEAD=W,...", help="Weight of each head, with --fusion.")
    parser.add_argument("--clip", type=float, help="Lower bound of a z-score, with --fusion.")
    parser.add_argument("--draws", type=int, default=1000, help="Draws of the bootstrap; 0 for no intervals.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the bootstrap.")
    parser.add_argument("--json", action="store_true", help="Print the content of metrics.json.")
    parser.add_argument("--out", metavar="FILE", help="Write metrics.json here.")
    options = parse_benchmark(parser, arguments)
    if options.fusion is None and (options.weights is not None or options.clip is not None):
        raise ConfigError("--weights and --clip belong to --fusion")
    for name in ("draws", "seed"):
        if options[name] < 0:
            raise ConfigError(f"--{name}: expected 0 or more, got {options[name]}")

    if Path(options.scores).suffix == ".npz":
        scores = Scores.load(options.scores)
        named = scores.header.get("protocol")
        if named and options.protocol not in (None, named):
            raise ConfigError(f"--protocol: these are scores of {named}, not of {options.protocol}; leave it away")
    elif options.protocol is None:
        raise ConfigError("scores of other programs do not say what was learned from: give --protocol")
    else:
        scores = foreign_scores(options.scores, options.benchmark, protocol=options.protocol, grid=options.grid)
    if options.fusion is not None:
        scores = scores.fused(options.fusion, weights=head_weights(options.weights), clip=options.clip)
    metrics = evaluate(
        scores,
        options.benchmark,
        protocol=options.protocol,
        grid=options.grid,
        draws=options.draws,
        seed=options.seed,
    )
    if options.out:
        files.write_json(options.out, metrics.to_json())
    if options.json:
        print(json.dumps(metrics.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_metrics(metrics, Console())


def head_weights(text: str | None) -> dict[str, float] | None:
    """`raw=0.5,motion=1` as a mapping; raises `ConfigError` for anything else."""
    if text is None:
        return None
    weights = {}
    for part in text.split(","):
        head, given, value = part.partition("=")
        try:
            weights[head.strip()] = float(value)
        except ValueError:
            given = ""
        if not given or not head.strip() or not math.isfinite(weights[head.strip()]):
            raise ConfigError(f"--weights: expected HEAD=NUMBER,..., got '{text}'")
    return weights


def print_metrics(metrics: "Metrics", console: Console) -> None:
    """A table with intervals, the headline first; then what the figures rest on."""
    title = f"{metrics.method} on {metrics.benchmark} ({metrics.protocol}, grid {metrics.grid})"
    table = Table(title=title, title_justify="left")
    table.add_column("metric", overflow="fold")
    for heading in ("value", "95 % interval", "constant score"):
        table.add_column(heading, justify="right")
    names = sorted(metrics.metrics, key=lambda name: (name != metrics.headline, *_place(name)))
    for name, following in zip(names, [*names[1:], ""], strict=True):
        table.add_row(
            name.replace("[", r"\["),
            f"{metrics.metrics[name].value:.4f}",
            _interval(metrics.metrics[name]),
            f"{metrics.constant[name]:.4f}" if name in metrics.constant else "",
            style="bold" if name == metrics.headline else None,
            end_section=name == metrics.headline or _place(name) != _place(following),
        )
    console.print(table)
    counts = {name: f"{v:.3g}" if isinstance(v, float) else f"{v:,}" for name, v in metrics.counts.items()}
    notes = ["; ".join(f"{name.replace('_', ' ')} {value}" for name, value in counts.items())]
    notes.append("_smoothed: mean over the frames t-5 .. t+5 of the clip; it needs future frames")
    if metrics.chain.get("steps"):
        notes.append("_paper: " + ", ".join(next(iter(step)) for step in metrics.chain["steps"]))
        notes.append("it leaks: " + ("; ".join(metrics.chain["leaks"]) or "nothing"))
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def _place(name: str) -> tuple[int]:
    """Where a metric stands: raw, smoothed, the paper's chain, then kinds."""
    if "[" in name:
        return (3,)
    return (next((place for place, suffix in ((1, "_smoothed"), (2, "_paper")) if name.endswith(suffix)), 0),)


def _interval(estimate: "Estimate") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return rf"\[{estimate.low:.3f}, {estimate.high:.3f}]"
