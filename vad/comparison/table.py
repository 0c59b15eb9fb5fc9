"""The comparison as a table: in the terminal, as Markdown and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vad.comparison.collect import Row, Setting
from vad.datamodules.pretext import TASKS
from vad.evaluation import Estimate

# What a table shows besides the headline, in this order, where a row has it; the CSV holds everything.
SHOWN = (
    "micro_auroc",
    "micro_auroc_smoothed",
    "micro_auroc_paper",
    "macro_auroc_pad_smoothed",
    "ap_step",
    "auroc_abnormal_videos",
    "far_at_0.5",
    "miss_at_0.5",
    "group_macro_auroc",
    "pixel_auroc",
    "rbdc",
    "tbdc",
    "rbdc_derived",
    "tbdc_derived",
    *TASKS,
    "pretext_accuracy_frozen",
    "pretext_accuracy_blank",
    "neighbours_auroc",
)


class Line(NamedTuple):
    """One row of the table as text, under the headings of `Table`."""

    cells: tuple[str, ...]


class Table(NamedTuple):
    """The rows of one setting, the best first."""

    setting: Setting
    headings: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        benchmark, protocol, grid, evaluated = self.setting
        if self.setting.pretext:
            return f"{benchmark}, {protocol}, {evaluated:,} clips of held-out training videos"
        return f"{benchmark}, {protocol}, grid {grid}, {evaluated:,} frames"


def percent(estimate: Estimate | None, *, interval: bool = False) -> str:
    """A figure in percent with one decimal, with its 95 % interval where asked for and known."""
    if estimate is None:
        return "–"
    text = f"{100 * estimate.value:.1f}"
    if interval and estimate.low is not None and estimate.high is not None:
        text += f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return text


def duration(seconds: float | None) -> str:
    """Seconds as hours, minutes or seconds, whichever reads best."""
    if seconds is None:
        return "–"
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def count(number: float | None) -> str:
    """A number of parameters in thousands or millions."""
    if number is None:
        return "–"
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k"


def tables(rows: Mapping[Setting, Sequence[Row]]) -> list[Table]:
    """One table for each setting."""
    return [_table(setting, members) for setting, members in rows.items()]


def _table(setting: Setting, rows: Sequence[Row]) -> Table:
    headline = rows[0].headline
    others = [name for name in SHOWN if name != headline and any(row.estimate(name) for row in rows)]
    unit = "clips" if setting.pretext else "frames"
    headings = ("method", f"{headline} [95 %]", *others, "seeds", "deviation", "parameters", "fit", f"{unit}/s")
    lines = []
    for row in rows:
        deviation = row.deviation(headline)
        speed = row.provenance(f"{unit}_per_second")
        lines.append(
            Line(
                (
                    row.name,
                    percent(row.estimate(headline), interval=True),
                    *(percent(row.estimate(name)) for name in others),
                    str(len(row.runs)),
                    "–" if deviation is None else f"{100 * deviation:.1f}",
                    count(row.provenance("parameters")),
                    duration(row.provenance("seconds", "fit")),
                    "–" if speed is None else f"{speed:.0f}",
                )
            )
        )
    return Table(setting, headings, tuple(lines))


def markdown(found: Sequence[Table], sentences: Mapping[Setting, Sequence[str]], notes: Sequence[str] = ()) -> str:
    """All tables as Markdown, figures in percent, each with its sentences below, then notes."""
    blocks = []
    for table in found:
        head = "| " + " | ".join(table.headings) + " |"
        rule = "|" + "---|" * len(table.headings)
        body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line.cells) + " |" for line in table.lines]
        blocks.append("\n".join([f"### {table.title}", "", head, rule, *body]))
        blocks += [f"- {sentence}" for sentence in sentences.get(table.setting, ())]
    blocks += [f"- {note}" for note in notes]
    return "\n\n".join(blocks) + "\n"


def comma_separated(rows: Mapping[Setting, Sequence[Row]]) -> str:
    """Every metric of every run, one line each: value and interval as fractions."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["benchmark", "protocol", "grid", "evaluated", "method", "run", "metric", "value", "low", "high"])
    for setting, members in rows.items():
        for row in members:
            for run in row.runs:
                for name, estimate in run.metrics.metrics.items():
                    interval = ["" if bound is None else repr(bound) for bound in (estimate.low, estimate.high)]
                    writer.writerow([*setting, row.name, run.folder.path.name, name, repr(estimate.value), *interval])
    return stream.getvalue()
