"""`vad extract`: compute what an experiment needs from its videos, or one link of it, once."""

import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from vad import files
from vad.errors import ConfigError

if TYPE_CHECKING:
    import jsonargparse
    from rich.progress import TaskID

    from vad.benchmarks import Benchmark
    from vad.extract.extraction import Extraction
    from vad.extract.launch import OnBroken, Progress, Summary
    from vad.types import Video

USAGE = """usage: vad extract --config E [options of the experiment] [--processes N] [--device D] [--on_broken S]
       vad extract objects --benchmark B [--splits S ...] [--detector D] [--motion M] [...]
       vad extract features --benchmark B [--splits S ...] [--encoder E] [...]
       vad extract packs --benchmark B --source FOLDER --name N [...]

--config E   everything that the experiment reads from its videos, sources first
objects      boxes of a detector and of what moves
features     vectors of snippets, computed by an encoder
packs        vectors of snippets that others computed, imported from their files

--processes  worker processes on this machine (1); torchrun and SLURM share out the videos over machines
--device     cpu, cuda, cuda:1, or auto (the default): cuda where there is one
--on_broken  stop at a video that cannot be read (the default), or skip it and say so

What is in the cache is not computed again; the same command continues. 'vad extract objects --help' says more."""


def main(arguments: Sequence[str]) -> None:
    """Extract for an experiment, or one link."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
    elif arguments[0] == "objects":
        objects(arguments[1:])
    elif arguments[0] == "features":
        features(arguments[1:])
    elif arguments[0] == "packs":
        from vad.cli.extract_packs import main as packs

        packs(arguments[1:])
    elif arguments[0].startswith("-"):
        experiment(arguments)
    else:
        known = "objects, features, packs or --config"
        raise ConfigError(f"expected {known}, got '{arguments[0]}'; 'vad extract --help' says more")


def experiment(arguments: Sequence[str]) -> None:
    """Every recipe of an experiment's data, sources first."""
    processes, device, on_broken, rest = launch_options(arguments)
    from vad.cli.experiment import parse

    data = parse(rest).data
    carry_out(data.recipes(), data.benchmark, data.needed, processes, device, on_broken)


def objects(arguments: Sequence[str]) -> None:
    """The objects of some splits of a benchmark."""
    launch = launch_options(arguments)
    from vad.extract.detectors import Detector
    from vad.extract.motion import Motion
    from vad.extract.objects import ObjectRecipe

    parser = link("objects", "Boxes of a detector, and of what moves outside them, into the cache.")
    parser.add_subclass_arguments(Detector, "detector", required=False, help="A detector, such as YOLOX.")
    parser.add_subclass_arguments(Motion, "motion", required=False, help="A motion mask, such as OpticalFlow.")
    parser.add_class_arguments(ObjectRecipe, skip={"detector", "motion"})
    carry_out_link(parser, ObjectRecipe, *launch)


def features(arguments: Sequence[str]) -> None:
    """The features of some splits of a benchmark."""
    processes, device, on_broken, rest = launch_options(arguments)
    from vad.extract.encoders import Encoder
    from vad.extract.features import FeatureRecipe

    parser = link("features", "Vectors of an encoder for the snippets of every video, into the cache.")
    known = "An encoder, such as EfficientNetLite0, or the run of a pretext method, by its folder."
    parser.add_subclass_arguments(Encoder, "encoder", required=True, help=known)
    parser.add_class_arguments(FeatureRecipe, skip={"encoder"})
    carry_out_link(parser, FeatureRecipe, processes, device, on_broken, arrange_encoder(rest))


def arrange_encoder(arguments: Sequence[str]) -> list[str]:
    """The command line with the encoder's name before its arguments, as the parser needs it, and a run as
    `RunEncoder`."""
    named: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        option, given, value = word.partition("=")
        if option != "--encoder":
            rest.append(word)
            continue
        value = value if given else next(words, "")
        named += ["--encoder", "RunEncoder", "--encoder.run", value] if is_run(value) else ["--encoder", value]
    return [*named, *rest]


def is_run(value: str) -> bool:
    """Whether the value of --encoder means a run, by its folder or the path below `$VAD_RUNS`, and not a class."""
    if "/" in value:
        return not value.startswith("{")
    return bool(value) and any((root / value / "encoder.ckpt").is_file() for root in (Path(), files.runs_root()))


def link(name: str, description: str) -> "jsonargparse.ArgumentParser":
    """The parser of one link, without the options of its recipe."""
    import jsonargparse

    from vad.cli.benchmark_option import add_benchmark
    from vad.types import Split

    parser = jsonargparse.ArgumentParser(prog=f"vad extract {name}", description=description, exit_on_error=False)
    add_benchmark(parser)
    parser.add_argument("--splits", type=Split, nargs="+", default=None, help="Splits; all of them by default.")
    return parser


def carry_out_link(
    parser: "jsonargparse.ArgumentParser",
    recipe: "type[Extraction]",
    processes: int,
    device: str,
    on_broken: "OnBroken",
    arguments: Sequence[str],
) -> None:
    """Extract by the recipe that the options describe."""
    from vad.cli.benchmark_option import parse_benchmark

    options = parse_benchmark(parser, arguments)
    given = {name: options[name] for name in recipe.__dataclass_fields__ if name in options}
    splits = options.splits or list(options.benchmark.splits)
    videos = {video.id: video for split in splits for video in options.benchmark.sources(split)}
    carry_out([recipe(**given)], options.benchmark, list(videos.values()), processes, device, on_broken)


def launch_options(arguments: Sequence[str]) -> tuple[int, str, "OnBroken", list[str]]:
    """Split --processes, --device and --on_broken, which are no part of an experiment, from the other words."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--on_broken", choices=("stop", "skip"), default="stop")
    try:
        options, rest = parser.parse_known_args(arguments)
    except ArgumentError as error:
        raise ConfigError(f"{error.argument_name}: {error.message}") from None
    return options.processes, device_of(options.device), options.on_broken, rest


def device_of(name: str) -> str:
    """The device of that name; `auto` is cuda where there is one. Raises `ConfigError` where there is none."""
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    known = ["cpu", "cuda", *(f"cuda:{index}" for index in range(count))] if count else ["cpu"]
    if name not in known:
        raise ConfigError(f"--device: expected auto or one of {', '.join(known)}, which this machine has, got '{name}'")
    return name


def carry_out(
    recipes: "Sequence[Extraction]",
    benchmark: "Benchmark",
    videos: "Sequence[Video] | Callable[[Extraction], Sequence[Video]]",
    processes: int,
    device: str,
    on_broken: "OnBroken",
) -> None:
    """Extract with a progress bar, then say in a line for each recipe what was done."""
    from vad.extract.launch import extract

    with Bars() as bars:
        summaries = extract(
            recipes,
            benchmark,
            videos,
            processes=processes,
            device=device,
            on_broken=on_broken,
            progress=bars.show,
        )
    named: set[str] = set()
    for summary in summaries:
        print(line(benchmark, summary))
        for video, reason in summary.skipped:
            if video not in named:  # what follows is made from it, and skips it too
                print(f"  skipped {video}: {reason}")
        named |= {video for video, _ in summary.skipped}


def line(benchmark: "Benchmark", summary: "Summary") -> str:
    """What was done for a recipe, in a line."""
    rate = summary.frames / summary.seconds if summary.computed and summary.seconds > 0 else 0.0
    speed = f", {summary.frames:,} frames in {summary.seconds:.0f} s ({rate:.0f} a second)" if summary.computed else ""
    skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
    return (
        f"{benchmark.dataset}/{summary.recipe.key}: {summary.computed} computed, {summary.present} there already"
        f"{skipped}{speed}"
    )


class Bars:
    """A progress bar for each recipe, on stderr, where that is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, state: "Progress") -> None:
        """Move the bar of a recipe."""
        key = state.recipe.key
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(state.recipe.kind, total=state.total)
        last = f" {state.last.video}" if state.last else ""
        self._progress.update(self._tasks[key], completed=state.done, description=f"{state.recipe.kind}{last}")
