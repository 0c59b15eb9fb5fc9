"""`vad cache list` says what the cache holds; `vad cache prune` deletes what is asked, and nothing else."""

import time
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from vad import cache
from vad.errors import ConfigError

USAGE = """usage: vad cache list [--dataset D] [--key K] [--older DAYS]
       vad cache prune [--dataset D] [--key K] [--older DAYS] [--partial] [--dry_run]

list    recipes with their entries, sizes and ages
prune   delete the recipes that every option given applies to; without an option, nothing

--dataset  of this data set, such as ucsd_ped2
--key      with this key, or one that begins so, such as objects-72778b1d1e45
--older    to which nothing was added for so many days
--partial  delete what killed processes left behind, and no recipe
--dry_run  say what would be deleted"""


def main(arguments: Sequence[str]) -> None:
    """Run `list` or `prune`."""
    actions = {"list": show, "prune": prune}
    if not arguments or {"-h", "--help"} & set(arguments):
        print(USAGE)
        return
    if arguments[0] not in actions:
        raise ConfigError(f"expected list or prune, got '{arguments[0]}'; 'vad cache --help' says more")
    actions[arguments[0]](arguments[1:])


def show(arguments: Sequence[str]) -> None:
    """Print a line for each recipe, and what it holds in all."""
    chosen = choose(options_of(arguments, prune=False))
    for recipes in chosen:
        size, age = in_words(recipes.size), (time.time() - recipes.newest) / 86400
        print(
            f"{recipes.dataset}/{recipes.key}  {recipes.entries} videos, {size}, {age:.1f} days\n    {recipes.summary}"
        )
    left = cache.partial_writes()
    print(f"{cache.cache_root()}: {len(chosen)} recipes, {in_words(sum(r.size for r in chosen))}")
    if left:
        print(f"{len(left)} partial writes of killed processes; vad cache prune --partial deletes them")


def prune(arguments: Sequence[str]) -> None:
    """Delete what is asked, and say so."""
    options = options_of(arguments, prune=True)
    asked = [options.dataset, options.key, options.older]
    if options.partial:
        if any(value is not None for value in asked):
            raise ConfigError("--partial stands alone: it deletes what killed processes left, and no recipe")
        doomed: list[tuple[Path, str]] = [(path, "partial write") for path in cache.partial_writes()]
    elif all(value is None for value in asked):
        raise ConfigError(
            "say what to delete: --dataset, --key, --older or --partial; 'vad cache list' shows what is there"
        )
    else:
        doomed = [(r.folder, f"{r.entries} videos, {in_words(r.size)}") for r in choose(options)]
    for path, what in doomed:
        if not options.dry_run:
            cache.remove(path)
        print(f"{'would delete' if options.dry_run else 'deleted'} {path} ({what})")
    if not doomed:
        print("nothing to delete")


def choose(options: Namespace) -> list[cache.Stored]:
    """The recipes that every option given applies to."""
    limit = None if options.older is None else time.time() - options.older * 86400
    return [
        recipes
        for recipes in cache.stored()
        if (options.dataset is None or recipes.dataset == options.dataset)
        and (options.key is None or recipes.key.startswith(options.key))
        and (limit is None or recipes.newest <= limit)
    ]


def options_of(arguments: Sequence[str], *, prune: bool) -> Namespace:
    """The options of a verb; anything wrong is a `ConfigError`."""
    parser = ArgumentParser(prog="vad cache", add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--dataset")
    parser.add_argument("--key")
    parser.add_argument("--older", type=float)
    if prune:
        parser.add_argument("--partial", action="store_true")
        parser.add_argument("--dry_run", action="store_true")
    try:
        options, unknown = parser.parse_known_args(arguments)
    except ArgumentError as error:
        raise ConfigError(f"{error.argument_name}: {error.message}") from None
    if unknown:
        raise ConfigError(f"unknown option '{unknown[0]}'; 'vad cache --help' says more")
    if options.older is not None and not options.older >= 0:
        raise ConfigError(f"--older: expected a number of days, got {options.older}")
    if "" in (options.dataset, options.key):
        raise ConfigError("--dataset, --key: expected a name, got nothing")
    return options


def in_words(size: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
