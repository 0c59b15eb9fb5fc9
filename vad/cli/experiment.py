"""One parser for all verbs: an experiment file and options to the objects that a stage takes.

    vad fit --config E [--config small.yaml] [--trainer FILE] [--model.width 16] [--benchmark Synthetic] ...

Every argument of every class is an option, typed, with help from its docstring. Interpolation
(`${model.init_args.dim}`) is resolved after everything is merged, so overrides reach it.
"""

import ast
import json
import re
from argparse import ArgumentError
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from omegaconf.errors import OmegaConfBaseException

from vad.aggregation import check_chain
from vad.cli import benchmark_option
from vad.cli.config_file import check_config_file
from vad.cli.mistakes import readable
from vad.cli.quiet import quiet
from vad.datamodules.video_data import VideoData
from vad.errors import ConfigError, VadError
from vad.extract.detectors import Detector
from vad.extract.encoders import Encoder
from vad.extract.features import Features
from vad.extract.motion import Motion
from vad.extract.teachers import Teacher
from vad.runs import Identity, RunFolder, Settings, identity, variant
from vad.stages import Experiment
from vad.tracking import Tracker

# Dataclasses that an experiment may replace by a subclass, as it replaces a model.
set_parsing_settings(subclasses_enabled=[Detector, Motion, Encoder, Features, Teacher])


class _Parser(LightningCLI):
    """LightningCLI as a parser: it seeds and instantiates nothing until it is told to."""

    def __init__(self, arguments: Sequence[str]) -> None:
        super().__init__(
            LightningModule,
            VideoData,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"parser_mode": "omegaconf+", "exit_on_error": False, "allow_abbrev": False},
            args=list(arguments),
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--paper_chain",
            type=list[dict[str, dict[str, Any]]] | None,
            default=None,
            help="The method's published post-processing: steps of one key (vad.aggregation.STEPS) and arguments.",
        )
        parser.add_argument(
            "--checkpoint",
            type=Literal["last", "best"],
            default="last",
            help="The checkpoint that becomes the detector, or the encoder of a pretext method.",
        )
        parser.add_argument(
            "--name", type=str | None, default=None, help="The variant's name instead of its overrides."
        )
        parser.add_argument(
            "--finetune",
            type=str | None,
            default=None,
            help="Start from the detector, or the encoder, of this run: its folder, or the path of it below $VAD_RUNS.",
        )
        parser.add_argument("--log", type=Tracker, default="wandb", help="Where curves go; log.csv is always written.")
        parser.add_argument("--fresh", action="store_true", help="Move an old run folder aside and begin anew.")
        parser.add_argument(
            "--out", type=str | None, default=None, help="The run's folder, instead of one below $VAD_RUNS."
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)

    def _set_seed(self) -> None:
        """Seeds are set by the stages, so that reading an experiment changes nothing."""

    def instantiate_classes(self) -> None:
        """Classes are instantiated by `parse`, not by reading the settings."""

    def dump(self) -> dict[str, Any]:
        """The complete configuration as plain values."""
        return yaml.safe_load(self.parser.dump(self.config, skip_link_targets=False, skip_unset=False, format="yaml"))

    def classes(self) -> tuple[LightningModule, VideoData, dict[str, Any]]:
        """Model, data, and the Trainer's arguments."""
        made = self.parser.instantiate(self.config)
        return made["model"], made["data"], dict(made["trainer"])


def parse(arguments: Sequence[str]) -> Experiment:
    """The experiment that a command line describes; anything wrong in it is a `ConfigError` of one line.

    Raises `SystemExit` for `--help` and `--print_config`, after printing.
    """
    quiet()
    parser = _read(arguments)
    settings = _settings(parser, arguments)
    seed_everything(settings.seed, workers=True, verbose=False)  # before the first weight is drawn
    try:
        model, data, options = parser.classes()
    except (ArgumentError, OmegaConfBaseException, ValueError) as error:
        raise _own(error) or ConfigError(readable(str(error))) from error

    def trainer(**fixed: Any) -> Trainer:
        """The Trainer with the experiment's arguments; the stage's win, callbacks and plugins are joined."""
        joined = {name: [*_listed(options.get(name)), *fixed.pop(name, [])] for name in ("callbacks", "plugins")}
        try:
            return Trainer(**{**options, **fixed, **joined})
        except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:
            raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error

    return Experiment(
        settings=settings,
        model=model,
        data=data,
        trainer=trainer,
        paper_chain=tuple(settings.config["paper_chain"] or ()),
        checkpoint=settings.config["checkpoint"],
        finetune=settings.config["finetune"],
        log=settings.config["log"],
    )


def parse_settings(arguments: Sequence[str]) -> Settings:
    """What a command line asks for, with every value checked, but without instantiating a class."""
    return _settings(_read(arguments), arguments)


def run_arguments(folder: RunFolder, arguments: Sequence[str]) -> list[str]:
    """The command line of a run that exists: its own configuration, then further options."""
    return ["--config", str(folder.config), *arguments]


def _read(arguments: Sequence[str]) -> _Parser:
    if not _configs(arguments) and not {"-h", "--help"} & set(arguments):
        raise ConfigError("--config: give an experiment file, for instance --config experiments/lbr_spr_synthetic.yaml")
    for path in _configs(arguments):
        check_config_file(path)
    try:
        return _Parser(arrange(arguments))
    except (ArgumentError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(readable(str(error))) from error


def _settings(parser: _Parser, arguments: Sequence[str]) -> Settings:
    config = parser.dump()
    seed = config["seed_everything"]
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ConfigError(f"seed_everything: expected a whole number, got {str(seed).lower()}")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed_everything: expected 0 to {2**32 - 1}, got {seed}")
    check_chain(config["paper_chain"] or ())
    if config["out"] == "":
        raise ConfigError("--out: a folder must follow")
    if config["name"] is not None and not re.fullmatch(r"(?!\.)[^/\0]{1,200}", config["name"]):
        raise ConfigError(f"--name: expected a name for a folder, without / or a dot before it, got '{config['name']}'")
    paths = _configs(arguments)
    return Settings(
        config=config,
        experiment=Path(paths[0]).stem,
        variant=config["name"] or _variant(paths, seed, identity(config)),
        seed=seed,
        fresh=config["fresh"],
        out=config["out"],
    )


def _variant(paths: Sequence[str], seed: int, wanted: Identity) -> str:
    """The stems of further files that change what counts, then what the options change; `base` where nothing does."""
    bases = [_base(paths[: count + 1], seed) for count in range(len(paths))]
    stems = [
        Path(path).stem for path, (before, after) in zip(paths[1:], pairwise(bases), strict=True) if before != after
    ]
    rest = variant(bases[-1], wanted)
    words = [re.sub(r"[^A-Za-z0-9=.,+_-]+", "-", stem).lstrip(".") for stem in stems] + [rest] * (rest != "base")
    return ",".join(words) or "base"


def _base(paths: Sequence[str], seed: int) -> Identity:
    """The identity of experiment files alone; empty where they need the options that follow."""
    words = [word for path in paths for word in ("--config", path)]
    try:
        return identity(_Parser(arrange([*words, "--seed_everything", str(seed)])).dump())
    except (ArgumentError, OmegaConfBaseException):
        return {}


def _configs(arguments: Sequence[str]) -> list[str]:
    return [value or "" for name, value in options_of(arguments) if name in ("-c", "--config")]


def _own(error: BaseException) -> VadError | None:
    """What a constructor of ours said, below what the parser made of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, VadError):
        cause = cause.__cause__ or cause.__context__
    return cause


def arrange(arguments: Sequence[str]) -> list[str]:
    """Sort a command line as the parser needs it, and write out its short forms.

    Every `--config` comes first, then `--trainer FILE` (an inline trainer would win over an earlier file), then the
    rest in its order. `--benchmark` stands for `--data.benchmark`, a folder for `Footage`. A benchmark is cleared
    before another takes its place, since the parser would keep the arguments of the old one.
    """
    configs: list[str] = []
    trainers: list[str] = []
    rest: list[str] = []
    for name, value in options_of(arguments):
        if name in ("-c", "--config"):
            configs += [*(_CLEAR if configs and _sets_benchmark(value) else []), "--config", value or ""]
        elif name == "--trainer" and value is not None and not value.startswith("{"):
            check_config_file(value, option="--trainer")
            trainers += ["--trainer", value]
        elif name in ("--benchmark", "--data.benchmark", "--data.init_args.benchmark") and value is not None:
            rest += [*_CLEAR, *_benchmark(value)]
        else:
            name = re.sub(r"^--benchmark\.", "--data.benchmark.", name)
            rest += [name] if value is None else [name, value]
    return [*configs, *trainers, *rest]


_CLEAR = ("--data.benchmark", "null")


def options_of(arguments: Sequence[str]) -> list[tuple[str, str | None]]:
    """Pairs of option and value, in order; a word that follows no option is a `ConfigError`."""
    pairs: list[tuple[str, str | None]] = []
    for word in arguments:
        if word.startswith("--") or word in ("-c", "-h"):
            name, given, value = word.partition("=")
            pairs.append((name, _in_yaml(value) if given else None))
        elif pairs and pairs[-1][1] is None:
            pairs[-1] = (pairs[-1][0], _in_yaml(word))
        else:
            raise ConfigError(f"'{word}' follows no option; options are written --key value")
    return pairs


def _in_yaml(value: str) -> str:
    """A value in Python's spelling, as W&B's agent writes it, in YAML's: only `None` would be read as a word."""
    if value == "None":
        return "null"
    if value[:1] in ("[", "{") and "None" in value:
        try:
            return json.dumps(ast.literal_eval(value))
        except (ValueError, SyntaxError, TypeError):  # not Python's
            return value
    return value


def _sets_benchmark(path: str | None) -> bool:
    """Whether a configuration file names a benchmark; the parser complains about one that cannot be read."""
    try:
        config = yaml.safe_load(Path(path or "").read_text(encoding="utf-8"))
        return bool(config["data"]["init_args"]["benchmark"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return False


def _benchmark(value: str) -> list[str]:
    if value == "null":
        return ["--data.benchmark", value]
    return [
        word.replace("--benchmark", "--data.benchmark", 1) for word in benchmark_option.arrange(["--benchmark", value])
    ]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
