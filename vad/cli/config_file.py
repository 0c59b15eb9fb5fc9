"""Is a file one that the parser can merge? Asked before the parser, which would name neither file nor line."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from vad.errors import ConfigError

NODES = 100_000  # of a file, aliases written out: far more than any experiment, far less than a file that explodes


def check_config_file(path: str, *, option: str = "--config") -> None:
    """Raise `ConfigError` for a file that is missing, empty, no YAML, no mapping, holds a key twice or a Python tag."""
    if not path:
        raise ConfigError(f"{option}: a file must follow")
    try:
        root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ConfigError(f"{option}: there is no file {path}") from None
    except OSError as error:
        raise ConfigError(f"{option}: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{option}: {path} is no text in UTF-8") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(
            f"{path}{_line(getattr(error, 'problem_mark', None))}: is no YAML ({_problem(error)})"
        ) from None
    if not isinstance(root, yaml.MappingNode) or not root.value:
        found = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}.get(type(root), "nothing")
        raise ConfigError(f"{path}: expected keys such as model, data and trainer, found {found}")
    for number, node in enumerate(_nodes(root)):
        if number == NODES:
            raise ConfigError(f"{path}: is too large, or an alias in it refers to itself")
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            raise ConfigError(f"{path}{_line(node.start_mark)}: the tag {node.tag} is not taken, only plain values")
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(path, node)


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node as often as it is referred to."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _refuse_twice(path: str, node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"{path}{_line(key.start_mark)}: a key must be a word")
        if key.value in seen:
            raise ConfigError(f"{path}{_line(key.start_mark)}: '{key.value}' stands there twice, and one would be lost")
        seen.add(key.value)


def _line(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f", line {mark.line + 1}"


def _problem(error: BaseException) -> str:
    return " ".join(str(getattr(error, "problem", None) or error or type(error).__name__).split())[:200]
