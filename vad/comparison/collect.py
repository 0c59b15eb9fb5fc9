"""Find finished runs, and put those together that differ in their seed alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from vad import files
from vad.errors import RunError
from vad.evaluation import Estimate, Metrics
from vad.runs import RunFolder, is_aside


class Setting(NamedTuple):
    """Runs of one setting were measured in the same way: only they can be ranked."""

    benchmark: str
    protocol: str
    grid: str
    evaluated: int  # frames, or clips: runs on other sizes of a generated benchmark, or on some videos, stand apart

    @property
    def pretext(self) -> bool:
        """Whether accuracies of pretext tasks were measured, on clips, rather than scores of frames."""
        return self.protocol == "pretext"


@dataclass(frozen=True)
class Run:
    """One finished run: its folder, what was measured, and where it comes from."""

    folder: RunFolder
    metrics: Metrics
    provenance: dict[str, Any]

    @property
    def setting(self) -> Setting:
        measured = self.metrics
        unit = "clips" if measured.grid == "clips" else "frames"
        return Setting(measured.benchmark, measured.protocol, measured.grid, measured.counts.get(unit, 0))

    @property
    def name(self) -> str:
        """Experiment, and the variant where it is not the base; below `test/<benchmark>` the run that was tested.

        What else was changed for that test (`test/<benchmark>,<changes>`) is a part of the name.
        """
        path, changes = self.folder.path.resolve(), ""
        if path.parent.name == "test":
            path, changes = path.parent.parent, path.name.partition(",")[2]
        if not path.name.startswith("seed-"):
            words = [path.name, changes]
        else:
            experiment, variant = path.parent.parent.name, path.parent.name
            words = [experiment, "" if variant == "base" else variant, changes]
        return " · ".join(word for word in words if word)


@dataclass(frozen=True)
class Row:
    """One line of the comparison: the seeds of one experiment and variant in one setting."""

    name: str
    setting: Setting
    runs: tuple[Run, ...]

    @property
    def headline(self) -> str:
        return self.runs[0].metrics.headline

    def names(self) -> list[str]:
        """The metrics that every seed has."""
        return [name for name in self.runs[0].metrics.metrics if all(name in run.metrics.metrics for run in self.runs)]

    def estimate(self, name: str) -> Estimate | None:
        """The mean over seeds, with the mean of the seeds' intervals; `None` where a seed lacks the metric.

        The interval covers the choice of test videos, not the choice of the seed: `deviation` does that.
        """
        found = [run.metrics.metrics.get(name) for run in self.runs]
        estimates = [estimate for estimate in found if estimate is not None]
        if len(estimates) < len(self.runs):
            return None
        lows = [e.low for e in estimates if e.low is not None]
        highs = [e.high for e in estimates if e.high is not None]
        whole = len(lows) == len(highs) == len(estimates)
        return Estimate(
            fmean(e.value for e in estimates), fmean(lows) if whole else None, fmean(highs) if whole else None
        )

    def deviation(self, name: str) -> float | None:
        """The standard deviation over seeds; `None` for a single one."""
        if len(self.runs) < 2 or any(name not in run.metrics.metrics for run in self.runs):
            return None
        return stdev(run.metrics.metrics[name].value for run in self.runs)

    def provenance(self, *keys: str) -> float | None:
        """The mean over seeds of a number in provenance.json, by its path of keys; `None` where a seed lacks it."""
        found: list[float] = []
        for run in self.runs:
            value: Any = run.provenance
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if not isinstance(value, int | float):
                return None
            found.append(float(value))
        return fmean(found)


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Every finished run at or below `paths`, each once, in the order of their paths.

    Folders that `--fresh` moved aside are passed over, unless they are named themselves.

    Raises `RunError` for a path that does not exist or holds no `metrics.json`.
    """
    found: dict[Path, Run] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise RunError(f"{path}: there is no such run folder")
        below = (file for file in path.rglob("metrics.json") if not any(map(is_aside, file.relative_to(path).parts)))
        measured = sorted(path.glob("metrics.json")) or sorted(below)
        if not measured:
            raise RunError(f"{path}: holds no metrics.json; run 'vad test' on it first")
        for file in measured:
            found.setdefault(file.parent.resolve(), read_run(file.parent))
    return list(found.values())


def read_run(path: Path) -> Run:
    """Read one run folder; a damaged file is a `RunError` that names it."""
    folder = RunFolder(path)
    try:
        metrics = Metrics.from_json(files.read_json(folder.metrics))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.metrics}: is not what 'vad test' writes ({error}); test the run again") from None
    provenance = files.read_json(folder.provenance) if folder.provenance.is_file() else {}
    return Run(folder, metrics, provenance if isinstance(provenance, dict) else {})


def rows(runs: Sequence[Run]) -> dict[Setting, list[Row]]:
    """Rows by setting, the best headline first; protocols and grids are never mixed."""
    groups: dict[tuple[Setting, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.setting, run.name), []).append(run)
    table: dict[Setting, list[Row]] = {}
    for (setting, name), members in sorted(groups.items()):
        table.setdefault(setting, []).append(Row(name, setting, tuple(members)))
    for found in table.values():
        found.sort(key=lambda row: -(row.estimate(row.headline) or Estimate(float("-inf"), None, None)).value)
    return table
