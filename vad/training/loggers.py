"""`log.csv`: one row for each epoch."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from vad.files import write_text


class RowLog:
    """Rows of numbers, written whole and atomically; columns appear in the order in which they were first seen.

    Args:
        path: The CSV file, or `None` to keep rows only.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.rows: list[dict[str, float]] = []

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row to what the next `write` writes."""
        self.rows.append(dict(row))

    def write(self) -> None:
        """Make the file say what the rows say."""
        if self.path is None:
            return
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.9g}" for name, value in row.items()} for row in self.rows)
        write_text(self.path, text.getvalue())
