"""`vad extract packs`."""

from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    raise NotImplementedError
