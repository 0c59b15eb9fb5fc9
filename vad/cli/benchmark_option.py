"""`--benchmark`: a name, a folder of one's own footage, or a class path with its arguments."""

import difflib
import inspect
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser, Namespace

import vad.benchmarks
from vad.benchmarks import Benchmark
from vad.cli.mistakes import readable
from vad.errors import ConfigError


def known_benchmarks() -> list[str]:
    """Names that `--benchmark` takes without their module."""
    exported = {name: getattr(vad.benchmarks, name) for name in vad.benchmarks.__all__}
    return [
        name
        for name, value in exported.items()
        if inspect.isclass(value) and issubclass(value, Benchmark) and not inspect.isabstract(value)
    ]


def add_benchmark(parser: ArgumentParser, *, required: bool = True) -> None:
    """Give a parser `--benchmark` and, for each argument of the class it names, `--benchmark.<argument>`.

    The parser must be made with `exit_on_error=False`; `parse_benchmark` reads its command line.
    """
    parser.add_subclass_arguments(
        Benchmark,
        "benchmark",
        required=required,
        help=f"One of {', '.join(known_benchmarks())}, a class path, or a folder of your own footage.",
    )


def parse_benchmark(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """The parsed command line, with an instance (or None) as its `benchmark`.

    Raises `ConfigError` of one line for whatever is wrong with an option, and `SystemExit` for `--help`.
    """
    try:
        return parser.instantiate(parser.parse_args(arrange(arguments)))
    except ArgumentError as error:
        if "arguments are required: benchmark" in str(error):
            _option("")
        raise ConfigError(readable(str(error))) from error


def arrange(arguments: Sequence[str]) -> list[str]:
    """The command line with the benchmark's name before its arguments, as parsers need it, and folders as `Footage`.

    Raises `ConfigError` for a name that is neither known nor a folder nor a class path.
    """
    named: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        option, given, value = word.partition("=")
        if option != "--benchmark":
            rest.append(word)
            continue
        named += _option(value if given else next(words, ""))
    return [*named, *rest]


def _option(value: str) -> list[str]:
    known = known_benchmarks()
    if not value or value.startswith("-"):
        raise ConfigError(f"--benchmark: give one of {', '.join(known)}, or a folder")
    if value.startswith("{"):
        return ["--benchmark", _mapping(value)]
    if value in known:
        return ["--benchmark", value]
    if Path(value).is_dir():
        return ["--benchmark", "Footage", "--benchmark.root", value]
    if "/" in value:
        raise ConfigError(f"--benchmark: there is no folder {value}")
    if "." in value:
        return ["--benchmark", value]
    close = difflib.get_close_matches(value, known, n=1)
    alike = f" (did you mean '{close[0]}'?)" if close else ""
    raise ConfigError(f"--benchmark: there is no benchmark '{value}'{alike}; known: {', '.join(known)}")


def _mapping(value: str) -> str:
    try:
        given = yaml.safe_load(value)
    except yaml.YAMLError:
        given = None
    if not isinstance(given, dict) or not given.keys() <= {"class_path", "init_args"} or "class_path" not in given:
        raise ConfigError(f"--benchmark: expected {{class_path: NAME, init_args: {{...}}}}, got '{value}'")
    return value
