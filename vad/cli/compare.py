"""`vad compare RUN...`: table in the terminal, Markdown, CSV, one HTML page."""

from collections.abc import Sequence
from pathlib import Path

from vad import files
from vad.cli.mistakes import Parser
from vad.errors import VadError


def main(arguments: Sequence[str]) -> None:
    """Compare finished runs and write the comparison."""
    parser = Parser(
        prog="vad compare", description="Put finished runs side by side: what they score, and whether that is luck."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders above them")
    parser.add_argument(
        "--out", default="comparison", help="folder for comparison.{md,csv,html} (default: %(default)s)"
    )
    options = parser.parse_args(list(arguments))

    from rich.console import Console

    from vad.comparison.collect import find_runs, rows
    from vad.comparison.curves import benchmark_of, video_curves
    from vad.comparison.difference import differences, sentence
    from vad.comparison.page import page
    from vad.comparison.table import comma_separated, markdown, tables

    found = rows(find_runs(options.runs))
    laid_out = tables(found)
    console = Console()
    for table in laid_out:
        console.print(_terminal(table))
    curves, sentences, notes = {}, {}, []
    for setting, members in found.items():
        try:
            benchmark = benchmark_of(members[0].runs[0])
            curves[setting] = video_curves(members, benchmark)
            sentences[setting] = [sentence(difference) for difference in differences(members, benchmark)]
        except VadError as error:
            notes.append(f"{' / '.join(setting)}: no curves and no paired differences, since {error}")
    for line in [line for lines in sentences.values() for line in lines] + notes:
        console.print(line, markup=False, highlight=False)
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise VadError(f"{out}: is a file, --out wants a folder")
    files.write_text(out / "comparison.md", markdown(laid_out, sentences))
    files.write_text(out / "comparison.csv", comma_separated(found))
    files.write_text(out / "comparison.html", page(found, laid_out, curves, sentences, notes))
    console.print(f"page: {out / 'comparison.html'}", markup=False, highlight=False, soft_wrap=True)


def _terminal(table: "Table") -> "RichTable":  # type: ignore[name-defined]  # noqa: F821
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, title_justify="left")
    for index, heading in enumerate(table.headings):
        drawn.add_column(heading, justify="left" if index == 0 else "right", overflow="fold")
    for line in table.lines:
        drawn.add_row(*line.cells)
    return drawn
