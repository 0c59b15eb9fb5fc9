"""Is the best method better than another, or is that the choice of test videos?"""

from collections.abc import Sequence
from typing import NamedTuple

from vad.benchmarks import Benchmark
from vad.comparison.collect import Row
from vad.evaluation import Estimate, Evaluated, paired_difference
from vad.scores import Scores


class Difference(NamedTuple):
    """How far a row is behind the best one in the headline, over the same draws of test videos, or of groups."""

    best: str
    other: str
    behind: Estimate

    @property
    def clear(self) -> bool:
        """Whether the whole 95 % interval lies above zero."""
        return self.behind.low is not None and self.behind.low > 0


def differences(rows: Sequence[Row], benchmark: Benchmark) -> list[Difference]:
    """All seeds of each row against all of the best one's; rows without scores are passed over."""
    scored = [row for row in rows if all(run.folder.scores.is_file() for run in row.runs)]
    if len(scored) < 2:
        return []
    best, *others = scored
    first = evaluated(best, benchmark)
    found = []
    for row in others:
        behind = paired_difference(first, evaluated(row, benchmark)).get(best.headline)
        if behind is not None:
            found.append(Difference(best.name, row.name, behind))
    return found


def evaluated(row: Row, benchmark: Benchmark) -> list[Evaluated]:
    """The scores of every seed, with the draws that belong to each figure."""
    return [
        Evaluated(Scores.load(run.folder.scores), benchmark, protocol=row.setting.protocol, grid=run.metrics.grid)
        for run in row.runs
        if run.metrics.grid != "clips"
    ]


def sentence(difference: Difference) -> str:
    """One difference in words."""
    value, low, high = difference.behind
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    verdict = "" if low is None else (": clear" if difference.clear else ": may be luck")
    return f"{difference.best} is {100 * value:.1f}{interval} points above {difference.other}{verdict}"
