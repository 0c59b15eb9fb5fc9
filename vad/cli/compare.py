"""`vad compare RUN...`: table in the terminal, Markdown, CSV, one HTML page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vad import files
from vad.cli.mistakes import Parser
from vad.errors import VadError

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from vad.comparison.collect import Run
    from vad.comparison.table import Table


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

    from vad.comparison.collect import find_runs

    report(find_runs(options.runs), Path(options.out))


def report(runs: "Sequence[Run]", out: Path, notes: Sequence[str] = ()) -> None:
    """Print the tables of some runs, and write them into `out` as Markdown, CSV and one HTML page, with the notes."""
    from rich.console import Console

    from vad.comparison.collect import rows
    from vad.comparison.curves import benchmark_of, video_curves
    from vad.comparison.difference import differences, sentence
    from vad.comparison.page import page
    from vad.comparison.probes import probe_sentences
    from vad.comparison.table import comma_separated, markdown, tables

    if out.exists() and not out.is_dir():
        raise VadError(f"{out}: is a file, --out wants a folder")
    found = rows(runs)
    laid_out = tables(found)
    console = Console()
    for table in laid_out:
        console.print(_terminal(table, console.width))
    curves, sentences, notes = {}, {}, list(notes)
    for setting, members in found.items():
        if setting.pretext:  # nothing was scored
            sentences[setting] = probe_sentences(members)
            continue
        try:
            benchmark = benchmark_of(members[0].runs[0])
            curves[setting] = video_curves(members, benchmark)
            sentences[setting] = [sentence(difference) for difference in differences(members, benchmark)]
        except VadError as error:
            notes.append(f"{' / '.join(map(str, setting))}: no curves and no paired differences, since {error}")
    for line in [line for lines in sentences.values() for line in lines] + notes:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    files.write_text(out / "comparison.md", markdown(laid_out, sentences, notes))
    files.write_text(out / "comparison.csv", comma_separated(found))
    files.write_text(out / "comparison.html", page(found, laid_out, curves, sentences, notes))
    console.print(f"page: {out / 'comparison.html'}", markup=False, highlight=False, soft_wrap=True)


def _terminal(table: "Table", width: int) -> "RichTable":
    """The table as it is, turned round where it is too wide, or its first columns alone where that is too wide too."""
    grid = [list(table.headings), *(list(line.cells) for line in table.lines)]
    if not _fits(grid, width):
        turned = [list(column) for column in zip(*grid, strict=True)]
        shown = (0, 1, table.headings.index("seeds"), table.headings.index("deviation"))
        grid = turned if _fits(turned, width) else [[row[index] for index in shown] for row in grid]
    return _drawn(table.title, grid)


def _fits(grid: Sequence[Sequence[str]], width: int) -> bool:
    return sum(max(map(len, column)) + 3 for column in zip(*grid, strict=True)) + 1 <= width


def _drawn(title: str, grid: Sequence[Sequence[str]]) -> "RichTable":
    from rich.table import Table as RichTable

    drawn = RichTable(title=title, title_justify="left")
    for index, heading in enumerate(grid[0]):
        drawn.add_column(heading, justify="left" if index == 0 else "right", overflow="fold")
    for row in grid[1:]:
        drawn.add_row(*row)
    return drawn
