"""What to think of accuracies of pretext tasks: what chance gives, and what is told without time."""

from collections.abc import Sequence

from vad.comparison.collect import Row
from vad.comparison.table import percent
from vad.datamodules.pretext import TASKS
from vad.evaluation import Estimate

PROBES = {"frozen": "that repeat one frame", "blank": "whose middle is hidden"}


def chance(row: Row, name: str) -> float | None:
    """What guessing gives; `None` for a figure that the row does not have."""
    return row.runs[0].metrics.constant.get(name)


def probe_sentences(rows: Sequence[Row]) -> list[str]:
    """Chance of each task, and every task of every row that is told of clips in which nothing moves."""
    said: dict[str, list[str]] = {}
    for row in rows:
        known = [(task, value) for task in TASKS if (value := chance(row, task)) is not None]
        words = ", ".join(f"{percent(Estimate(value, None, None))} in {task}" for task, value in known)
        said.setdefault(words, []).append(row.name)
    sentences = [
        f"chance is {words}" if len(said) == 1 else f"{', '.join(names)}: chance is {words}"
        for words, names in said.items()
    ]
    return sentences + [sentence for row in rows for sentence in _shortcuts(row)]


def _shortcuts(row: Row) -> list[str]:
    found = []
    for task in TASKS:
        estimate, guessed = row.estimate(f"{task}_frozen"), chance(row, task)
        if estimate is None or estimate.low is None or guessed is None or estimate.low <= guessed:
            continue
        told = f"{task} is told of clips {PROBES['frozen']} too, {percent(estimate, interval=True)}"
        found.append(f"{row.name}: {told}, which hints at a shortcut")
    return found
