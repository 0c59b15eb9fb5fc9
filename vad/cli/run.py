"""`vad run --config E [--seeds 0,1,2] [options]`: extract, fit and test, each in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence

from vad import files
from vad.errors import ConfigError
from vad.runs import Settings

USAGE = """usage: vad run --config E [--seeds 0,1,2] [options of the experiment]

Runs 'vad extract', 'vad fit' and 'vad test', each in a process of its own, and prints what was measured. What is there
already is not done again: the same command continues where it stopped. 'vad fit --help' lists the options."""


def main(arguments: Sequence[str]) -> int:
    """Stop at the first verb that fails, and end with its exit status."""
    if not arguments or set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    from vad.cli.experiment import parse_settings
    from vad.cli.extract import launch_options
    from vad.runs import launched_from_outside

    if launched_from_outside():
        raise ConfigError("vad run starts processes of its own; under torchrun or srun use vad fit and vad test")
    seeds, options = take_seeds(arguments)
    once = [word for word in options if word != "--fresh"]
    options = launch_options(options)[-1]  # what belongs to extraction alone
    runs = [
        parse_settings(with_seed(options, seed)) for seed in seeds
    ]  # every mistake shows before the first hour of work
    if status := verb("extract", once):
        return status
    for seed, settings in zip(seeds, runs, strict=True):
        path = str(settings.folder.path)
        if status := verb("fit", with_seed(options, seed)) or verb("test", [path]):
            return status
    print("\n" + "\n".join(summary(settings) for settings in runs))
    return 0


def verb(name: str, arguments: Sequence[str]) -> int:
    """Run one verb in a process of its own, which prints what it has to say."""
    return subprocess.run([sys.executable, "-m", "vad.cli.main", name, *arguments]).returncode


def take_seeds(arguments: Sequence[str]) -> tuple[list[int | None], list[str]]:
    """Split `--seeds 0,1,2` from the other options; without it there is one run, with the experiment's own seed."""
    words = list(arguments)
    for position, word in enumerate(words):
        name, given, value = word.partition("=")
        if name != "--seeds":
            continue
        rest = words[position + 1 :] if given else words[position + 2 :]
        listed = value if given else words[position + 1] if position + 1 < len(words) else ""
        try:
            seeds: list[int | None] = [int(seed) for seed in listed.split(",")]
        except ValueError:
            raise ConfigError(f"--seeds: expected whole numbers with commas between, got '{listed}'") from None
        if len(set(seeds)) < len(seeds):
            raise ConfigError(f"--seeds: a seed stands there twice, in '{listed}'")
        return seeds, words[:position] + rest
    return [None], words


def with_seed(options: Sequence[str], seed: int | None) -> list[str]:
    """The options of one run."""
    return [*options] if seed is None else [*options, "--seed_everything", str(seed)]


def summary(settings: Settings) -> str:
    """The headline of a finished run, with its interval, and the run's path."""
    if not settings.folder.metrics.is_file():
        return f"{settings.folder.path}: scored, without truth to evaluate by"
    metrics = files.read_json(settings.folder.metrics)
    found = metrics["metrics"][metrics["headline"]]
    interval = "" if found.get("low") is None else f" [{found['low']:.4f}, {found['high']:.4f}]"
    return f"{settings.folder.path}: {metrics['headline']} {found['value']:.4f}{interval}"
