"""How `vad` fails: one readable sentence that says what is wrong, where, and what to do."""

from pathlib import Path


class VadError(Exception):
    """Something that a person can mend. The command line prints the message alone and exits with `exit_status`."""

    exit_status = 2


class ConfigError(VadError):
    """An experiment file or an option is wrong."""


class DataError(VadError):
    """A benchmark's files are missing, inconsistent or broken."""


class VideoError(DataError):
    """A video cannot be read as a sequential decode would give it."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple:  # two arguments, so that it crosses process borders
        return (type(self), (self.path, self.reason))


class CacheError(VadError):
    """A cache entry is missing, damaged or of another recipe."""


class ScoresError(VadError):
    """A scores file does not fit its benchmark, or holds what is no score."""


class RunError(VadError):
    """A run folder cannot be continued, tested or compared."""


class MissingExtraError(VadError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package '{package}': install it with  pip install 'vad[{extra}]'")
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple:
        return (type(self), (self.package, self.extra))
