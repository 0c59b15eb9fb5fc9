"""`vad test RUN [--benchmark B] [options]`: measure a run."""

from collections.abc import Sequence
from pathlib import Path

from vad.errors import ConfigError
from vad.evaluation import Metrics

USAGE = """usage: vad test RUN [--benchmark B ...] [options of the experiment]

Scores the run's detector and writes scores.npz and metrics.json into RUN, or, on another benchmark or other videos,
below RUN/test/. Of a pretext method the tasks are measured on held-out training videos; metrics.json alone is written.
What is tested already is not tested again without --fresh. 'vad fit --help' lists the options."""


def main(arguments: Sequence[str]) -> None:
    """Read the run's own configuration again, with further options behind it."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0].startswith("-"):
        raise ConfigError(f"the run folder comes first: vad test RUN {' '.join(arguments)}")
    from vad import stages
    from vad.cli.experiment import parse, run_arguments
    from vad.runs import RunFolder, folder_of_test, read_config

    run = RunFolder(Path(arguments[0]))
    config = read_config(run)
    experiment = parse(run_arguments(run, arguments[1:]))
    target = folder_of_test(run, config, experiment.settings)
    if target.metrics.is_file() and not experiment.settings.fresh:
        print(f"{target.path}: is tested already; --fresh tests it again")
        return
    metrics = stages.test(experiment, run, target)
    if metrics is not None:
        print(f"{table(metrics)}\n{target.path}")


def table(metrics: Metrics) -> str:
    """What was measured, one metric a line, the headline first."""
    names = sorted(metrics.metrics, key=lambda name: (name != metrics.headline, name))
    width = max(map(len, names), default=0)
    if metrics.protocol == "pretext":
        how, guessed = "{clips:,} clips of {videos} held-out videos".format(**metrics.counts), "chance"
    else:
        how, guessed = f"grid {metrics.grid}", "constant"
    lines = [f"{metrics.method} on {metrics.benchmark} ({metrics.protocol}, {how})"]
    for name in names:
        value, low, high = metrics.metrics[name]
        interval = "" if low is None or high is None else f"  [{low:.4f}, {high:.4f}]"
        constant = f"  {guessed} {metrics.constant[name]:.4f}" if name in metrics.constant else ""
        lines.append(f"  {name:<{width}}  {value:.4f}{interval}{constant}")
    return "\n".join(lines)
