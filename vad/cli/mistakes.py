"""What the parser says about a mistake, in one sentence that names the key. Imports nothing heavy."""

import argparse
import difflib
import importlib
import inspect
import re
from collections.abc import Sequence
from typing import NoReturn

import vad.benchmarks
from vad.errors import ConfigError

# What an experiment file holds, for a word that is near to one of them.
KEYS = ("model", "data", "trainer", "paper_chain", "checkpoint", "name", "finetune", "log", "seed_everything")

# Lines that say how a value might be written rather than what is wrong with it.
_ADVICE = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>$|Subclass types expect one of"
    r"|a class path \(str\)|a dict with|Expected a path but"
)
_NO_CLASS = re.compile(r"import path|has no attribute|No module named")


class Parser(argparse.ArgumentParser):
    """A parser of the standard library whose complaints are `ConfigError`s of one line, without the page of usage."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def readable(message: str) -> str:
    """The innermost cause in one sentence, with the whole key in front of it.

    In subclass mode the parser reports every type that a value failed to be, nested: the causes of the last class are
    what a person can mend.
    """
    if interpolated := re.search(r"full_key: (\S+)", message):
        return f"{interpolated[1]}: {_interpolation(message)}"
    if missing := re.search(r"Interpolation key '(.+?)' not found", message):
        return f"an interpolation: ${{{missing[1]}}} names no key of the experiment"
    lines = [line.strip().removeprefix("- ") for line in message.splitlines() if line.strip()]
    keys = [match[1] for line in lines if (match := re.match(r'Parser key "(.+?)":', line))]
    owners = [match[1] for line in lines if (match := re.match(r"Problem with given class_path '(.+?)'", line))]
    given = [line.removeprefix("Given value: ") for line in lines if line.startswith("Given value: ")]
    stripped = (re.sub(r'^(Parser key ".+?":|Problem with given class_path \'.+?\':)\s*', "", line) for line in lines)
    causes = [line for line in stripped if line and not _ADVICE.match(line)]
    if not causes:
        return f"{'.'.join(keys)}: not understood" if keys else " ".join(message.split())
    cause = next((line for line in reversed(causes) if _NO_CLASS.search(line)), causes[-1])
    said = _cause(cause, owners[-1] if owners else None, given)
    return f"{'.'.join(keys)}: {said}" if keys else said


def _interpolation(message: str) -> str:
    """What is wrong with a `${...}`."""
    if missing := re.search(r"Interpolation key '(.+?)' not found", message):
        return f"${{{missing[1]}}} names no key of the experiment"
    first = message.strip().splitlines()[0]
    if first.startswith(("no viable alternative", "mismatched input", "token recognition", "extraneous input")):
        return f"an interpolation is written ${{key}} ({first})"
    return first


def _cause(cause: str, owner: str | None, given: Sequence[str]) -> str:
    if option := re.match(r"Option '(.+?)' is not accepted", cause):
        if owner is None:
            word = option[1].split(".")[0]
            return f"the experiment takes no '{word}'{_alike(word, KEYS)}"
        return f"{owner.rsplit('.', 1)[-1]} takes no '{option[1]}'{_alike(option[1], _arguments(owner))}"
    if option := re.match(r"Group '(.+?)' does not accept option '(.+?)'", cause):
        known = _arguments("lightning.pytorch.Trainer") if option[1] == "trainer" else []
        return f"{option[1]} takes no '{option[2]}'{_alike(option[2], known)}"
    if _NO_CLASS.search(cause):
        return f"there is no such class ({cause}){_class_alike(cause)}"
    if cause.startswith("Expected an instantiatable class"):
        return "expected a class's name, or class_path and init_args"
    if other := re.match(r"Not a valid subclass of (\w+)(?:\. Got value: (.*))?", cause):
        return f"expected a kind of {other[1]}, got {other[2] or (given[0] if given else 'another')}"
    if expected := re.match(r"Expected a (.+?)(?:\. Got value: (.*))?$", cause):
        value = expected[2]
        if value is None:
            value = given[0] if given and "NestedArg" not in given[0] else "another"
        wanted = re.sub(r"<class '(?:.*\.)?(\w+)'>", r"\1", expected[1]).replace("typing.", "")
        wanted = re.sub(r"Literal\[(.*)\]", r"one of \1", wanted)
        return f"expected {wanted}, got {value}"
    if unknown := re.match(r"unrecognized arguments: (.*)", cause):
        return f"there is no option {unknown[1]}"
    return cause


def _class_alike(cause: str) -> str:
    """A class of the named module, or a benchmark, whose name is near."""
    if named := re.match(r"module '(.+?)' has no attribute '(.+?)'", cause):
        try:
            return _alike(named[2], dir(importlib.import_module(named[1])))
        except ImportError:
            return ""
    bare = re.match(r"Expected a dot import path string: (\S+)", cause)
    return _alike(bare[1], vad.benchmarks.__all__) if bare else ""


def _arguments(class_path: str) -> list[str]:
    try:
        module, _, name = class_path.rpartition(".")
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def _alike(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
