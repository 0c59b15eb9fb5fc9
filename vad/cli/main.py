"""`vad VERB ...`: the table of verbs, and what their errors look like. Imports nothing heavy."""

import importlib
import os
import sys
from collections.abc import Sequence

from vad import __version__
from vad.errors import VadError

# verb -> module with `main(arguments: list[str]) -> int | None`, the exit status if it is not 0, and what it does
VERBS: dict[str, tuple[str, str]] = {
    "data": ("vad.cli.data", "check a benchmark's files, or render the synthetic one"),
    "extract": ("vad.cli.extract", "compute what an experiment needs from its videos, once"),
    "show": ("vad.cli.show", "draw what the suite sees: frames with boxes and truth, crops, scores"),
    "fit": ("vad.cli.fit", "train an experiment, then estimate its detector"),
    "test": ("vad.cli.test", "score and evaluate a run"),
    "run": ("vad.cli.run", "extract, fit and test, each in a process of its own"),
    "sweep": ("vad.cli.sweep", "the grid of a W&B sweep file, a run for each cell, with workers and a table"),
    "evaluate": ("vad.cli.evaluate", "metrics of any scores, also other people's"),
    "compare": ("vad.cli.compare", "table, Markdown, CSV and one HTML page of several runs"),
    "cache": ("vad.cli.cache", "list or prune what the cache holds"),
}

USAGE = """usage: vad VERB ...

Video anomaly detection: extract, train, score and compare.

verbs:
{verbs}

'vad VERB --help' says more. --debug shows the traceback of an error.
Data lie under $VAD_DATA (data/), the cache under $VAD_CACHE (cache/), runs under $VAD_RUNS (runs/)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 success, 2 a usage or input error, 1 a failure."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(verbs="\n".join(f"  {verb:<9} {what}" for verb, (_, what) in VERBS.items())))
        return 0 if words else 2
    if words[0] == "--version":
        print(f"vad {__version__}")
        return 0
    if words[0] not in VERBS:
        print(f"vad: there is no verb '{words[0]}'; 'vad --help' lists them", file=sys.stderr)
        return 2
    try:
        status = importlib.import_module(VERBS[words[0]][0]).main(words[1:]) or 0
        if "vad.distributed" in sys.modules:  # else nothing joined any
            importlib.import_module("vad.distributed").leave()
        return 2 if len(words) == 1 and status == 0 else status  # a verb alone explains itself, and has done nothing
    except VadError as error:
        if debug:
            raise
        print(f"vad {words[0]}: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # whoever read what was printed has gone: vad cache list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if debug or error.errno is None:
            raise
        print(f"vad {words[0]}: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"vad {words[0]}: stopped; the same command continues", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
