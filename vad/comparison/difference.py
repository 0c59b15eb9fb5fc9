"""Is the best method better than another, or is that the choice of test videos?"""

from collections.abc import Sequence
from typing import NamedTuple

from vad.benchmarks import Benchmark
from vad.comparison.collect import Row
from vad.evaluation import Estimate, paired_difference
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
    """The first seed of each row against the first seed of the best one; rows without scores are passed over."""
    scored = [row for row in rows if row.runs[0].folder.scores.is_file()]
    if len(scored) < 2:
        return []
    best, *others = scored
    first = Scores.load(best.runs[0].folder.scores)
    found = []
    for row in others:
        second = Scores.load(row.runs[0].folder.scores)
        behind = paired_difference(
            first, second, benchmark, protocol=best.setting.protocol, grid=best.runs[0].metrics.grid
        ).get(best.headline)
        if behind is not None:
            found.append(Difference(best.name, row.name, behind))
    return found


def sentence(difference: Difference) -> str:
    """One difference in words."""
    value, low, high = difference.behind
    interval = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
    verdict = "" if low is None else (": clear" if difference.clear else ": may be luck")
    return f"{difference.best} is {100 * value:.1f}{interval} points above {difference.other}{verdict}"
