"""The comparison as one self-contained HTML page: tables, intervals, and score curves over every test video."""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template

from vad.comparison.collect import Row, Setting
from vad.comparison.curves import VideoCurves
from vad.comparison.probes import PROBES
from vad.comparison.table import Line, Table, percent
from vad.datamodules.pretext import TASKS
from vad.evaluation import Estimate

EXPLANATION = (
    "Figures are percent; intervals are 95 % percentile intervals of a bootstrap over test videos (over the sources of "
    "clips on <code>Composed</code>). Names without a suffix are raw frame scores, <code>_smoothed</code> the same "
    "smoothing for every method, <code>_paper</code> the method's published chain. <code>_derived</code> regions come "
    "from masks and are not comparable with published region figures. Settings of different protocols are never ranked "
    "together."
)
OF_PRETEXT = (
    "Accuracies of pretext tasks are percent of the clips of held-out training videos whose class can be told; "
    "intervals are 95 % percentile intervals of a bootstrap over these videos. <code>_frozen</code>: of clips that "
    "repeat one frame: what is told of these better than by chance is told by a shortcut, not by time. "
    "<code>_blank</code>: of clips whose middle is hidden: borders tell it, or what moves there. "
    "<code>neighbours_auroc</code>: how well abnormal videos are told from "
    "normal ones by the labels of their nearest neighbours. None of these says how well anomalies are detected."
)
CURVES = (
    "The curve is the share of test frames with a lower smoothed score: a monotone map that puts all methods on one "
    "scale. Red marks the frames that are abnormal."
)


def page(
    rows: Mapping[Setting, Sequence[Row]],
    tables: Sequence[Table],
    curves: Mapping[Setting, Sequence[VideoCurves]],
    sentences: Mapping[Setting, Sequence[str]],
    notes: Sequence[str],
) -> str:
    """The page as text. Nothing in it is loaded from elsewhere."""
    blocks, data = [], {}
    for table in tables:
        members = rows[table.setting]
        blocks.append(f"<h2>{html.escape(table.title)}</h2>")
        blocks.append(_counts(members[0]))
        blocks.append(_html_table(table))
        blocks.append(_intervals(members))
        chains = [] if table.setting.pretext else _chains(members)
        blocks.append(_list([*sentences.get(table.setting, ()), *chains]))
        blocks.append(_probes(members) if table.setting.pretext else _kinds(members))
        if curves.get(table.setting):
            name = " / ".join(map(str, table.setting))
            data[name] = {
                "methods": [row.name for row in members],
                "videos": [
                    {"id": v.id, "frames": v.frames, "abnormal": v.abnormal, "curves": dict(v.curves)}
                    for v in curves[table.setting]
                ],
            }
            blocks.append(
                f'<section data-setting="{html.escape(name)}"><h3>Score curves</h3><p>{CURVES}</p>'
                '<div class="controls"><label>video <select></select></label>'
                '<span class="controls legend"></span></div>'
                "<svg></svg></section>"
            )
    blocks += [f"<p>{html.escape(note)}</p>" for note in notes]
    template = Template(resources.files("vad.comparison").joinpath("page.html").read_text(encoding="utf-8"))
    number = sum(len(row.runs) for members in rows.values() for row in members)
    return template.substitute(
        title="Video anomaly detection: comparison",
        subtitle=f"{number} run{'s' if number != 1 else ''} in {len(rows)} setting{'s' if len(rows) != 1 else ''}",
        body="\n".join(block for block in blocks if block),
        footer="</p><p>".join(_explanations(rows)),
        data=json.dumps(data, separators=(",", ":")).replace("</", "<\\/"),
    )


def _explanations(settings: Iterable[Setting]) -> list[str]:
    """What the figures are, for the kinds of settings that are there."""
    kinds = {setting.pretext for setting in settings}
    return [EXPLANATION] * (False in kinds) + [OF_PRETEXT] * (True in kinds)


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in table.headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line.cells) + "</tr>" for line in table.lines
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _counts(row: Row) -> str:
    counts = row.runs[0].metrics.counts
    words = [f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items() if isinstance(value, int)]
    return f"<p>{html.escape(', '.join(words))}</p>" if words else ""


def _intervals(rows: Sequence[Row]) -> str:
    """The headline as points with whiskers on one axis from the lowest bound to 100 %."""
    headline = rows[0].headline
    estimates = [(row.name, row.estimate(headline)) for row in rows]
    known = [(name, e) for name, e in estimates if e is not None and e.low is not None and e.high is not None]
    if not known:
        return ""
    low = math.floor(10 * min(0.5, *(e.low for _, e in known if e.low is not None))) / 10
    width, line, left, right = 1100, 24, 320, 20

    def x(value: float) -> float:
        return left + (width - left - right) * (value - low) / (1 - low)

    parts = []
    for tenth in range(round(10 * low), 11):
        value = tenth / 10
        parts.append(
            f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="0" y2="{line * len(known)}" stroke="var(--line)"/>'
            f'<text x="{x(value):.1f}" y="{line * len(known) + 16}" text-anchor="middle">{100 * value:.0f} %</text>'
        )
    for index, (name, e) in enumerate(known):
        y = line * index + line / 2
        parts.append(
            f'<text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{html.escape(_short(name))}</text>'
            f'<line x1="{x(e.low or 0):.1f}" x2="{x(e.high or 1):.1f}" y1="{y}" y2="{y}" '
            'stroke="#0969da" stroke-width="2"/>'
            f'<circle cx="{x(e.value):.1f}" cy="{y}" r="4.5" fill="#0969da">'
            f"<title>{percent(e, interval=True)}</title></circle>"
        )
    heading = f"<h3>{html.escape(headline)} with 95 % intervals</h3>"
    return f'{heading}<svg viewBox="0 0 {width} {line * len(known) + 24}">{"".join(parts)}</svg>'


def _short(name: str, length: int = 44) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _kinds(rows: Sequence[Row]) -> str:
    """Figures for each kind of anomaly, where the benchmark knows kinds."""
    prefix = f"{rows[0].headline.removesuffix('_smoothed').removesuffix('_paper')}["
    kinds = sorted({name for row in rows for name in row.names() if name.startswith(prefix)})
    if not kinds:
        return ""
    headings = ("method", *(kind.removeprefix(prefix).removesuffix("]") for kind in kinds))
    lines = tuple(Line((row.name, *(percent(row.estimate(kind)) for kind in kinds))) for row in rows)
    title = f"<h3>{html.escape(prefix[:-1])} for each kind of anomaly</h3>"
    return title + _html_table(Table(rows[0].setting, headings, lines))


def _probes(rows: Sequence[Row]) -> str:
    """Accuracies of clips that do not show what is asked, task by task."""
    names = [f"{task}_{probe}" for task in TASKS for probe in PROBES if any(row.estimate(task) for row in rows)]
    lines = tuple(Line((row.name, *(percent(row.estimate(name)) for name in names))) for row in rows)
    title = f"<h3>Probes: clips {' and clips '.join(PROBES.values())}</h3>"
    return title + _html_table(Table(rows[0].setting, ("method", *names), lines))


def _chains(rows: Sequence[Row]) -> list[str]:
    """What a constant score gets through each chain, and what the published chains leak; said once of like rows."""
    said: dict[str, list[str]] = {}
    for row in rows:
        metrics = row.runs[0].metrics
        words = ["a constant score gets"]
        for name in (metrics.headline, "micro_auroc_paper"):
            if name in metrics.constant:
                words.append(f"{percent(Estimate(metrics.constant[name], None, None))} {name},")
        leaks = metrics.chain.get("leaks") or []
        if leaks:
            words.append(f"and the published chain leaks ({'; '.join(map(str, leaks))})")
        said.setdefault(" ".join(words).rstrip(","), []).append(row.name)
    if len(said) == 1 and len(rows) > 1:
        return [f"in every row {sentence}" for sentence in said]
    return [f"{', '.join(names)}: {sentence}" for sentence, names in said.items()]


def _list(sentences: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in sentences) + "</ul>" if sentences else ""
