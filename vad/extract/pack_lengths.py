"""By which rule a pack cut videos into snippets: its numbers of rows against the known lengths."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from vad.benchmarks import Benchmark
from vad.errors import DataError
from vad.types import Video


class Known(NamedTuple):
    """What is known of a video's length, in frames."""

    frames: int | None  # real ones
    grid: int | None  # of the benchmark's published vector


def known(benchmark: Benchmark, video: Video) -> Known:
    """From public lists, else from the video's file; one that cannot be opened is of no concern here."""
    frames = grid = None
    with suppress(DataError):
        frames = benchmark.length(video)
    with suppress(DataError):
        grid = benchmark.grid_length(video, "official")
    return Known(frames, grid)


def rules(known: Known, snippet: int, *, doubt: bool = False) -> dict[str, int]:
    """The numbers of rows that packs are known to have, by the name of the rule; empty where no length is known.

    Packs round up (RTFM), down (TEVAD, VadCLIP), or drop the last frame first (Wu: XD-Violence; UCF-Crime in part). A
    grid that was cut after a frame was dropped (XD-Violence) leaves open whether there is one row more, as in VadCLIP's
    pack. With `doubt` about the public counts one row less is right too: they contradict the grid in 41 videos of
    ShanghaiTech, and PEL4VAD rounds down what the grid rounds up.
    """
    n, found = known.frames, {}
    if n is not None:
        found = {
            f"floor(n / {snippet})": n // snippet,
            f"ceil(n / {snippet})": -(-n // snippet),
            f"floor((n - 1) / {snippet})": (n - 1) // snippet,
        }
    if known.grid is not None and snippet == 16:
        rows = known.grid // 16
        found["the official grid"] = rows
        if n is None:
            found["the official grid and a row"] = rows + 1
        elif doubt:
            found["the official grid less a row"] = rows - 1
    return found


def explain(rows: Mapping[str, int], lengths: Mapping[str, Known], snippet: int, *, trust: bool = False) -> str:
    """The rule that fits most videos, then those that fit the rest, in words.

    Raises `DataError` with the numbers where the rows of a video fit none, unless the pack is trusted more.
    """
    doubt = any(map(_contradictory, lengths.values()))
    expected = {id: rules(lengths[id], snippet, doubt=doubt) for id in rows}
    left = {id: [rule for rule, count in of.items() if count == rows[id]] for id, of in expected.items() if of}
    unknown = len(rows) - len(left)
    wrong = [id for id, fitting in left.items() if not fitting]
    if wrong and not trust:
        raise DataError(_misfit(wrong, rows, lengths, expected, snippet))
    words = []
    while fitting := Counter(rule for found in left.values() for rule in found):
        rule, count = fitting.most_common(1)[0]
        words.append(f"{rule} in {count:,}")
        left = {id: found for id, found in left.items() if rule not in found}
    words += [f"no known rule in {len(wrong):,}"] * bool(wrong) + [f"unknown n in {unknown:,}"] * bool(unknown)
    return f"rows of a video of n frames: {', '.join(words)} of {len(rows):,} videos"


def _contradictory(known: Known) -> bool:
    """Whether no rule makes the published grid of the public count."""
    if known.frames is None or known.grid is None:
        return False
    return known.grid // 16 not in rules(Known(known.frames, None), 16).values()


def _misfit(
    wrong: list[str],
    rows: Mapping[str, int],
    lengths: Mapping[str, Known],
    expected: Mapping[str, Mapping[str, int]],
    snippet: int,
) -> str:
    id = wrong[0]
    known = lengths[id]
    length = f"its {known.frames:,} frames" if known.frames is not None else f"its official grid of {known.grid} frames"
    named: dict[int, str] = {}
    for rule, count in expected[id].items():
        named.setdefault(count, rule)
    counts = " or ".join(f"{count:,} ({rule})" for count, rule in named.items())
    return (
        f"{id} has {rows[id]:,} rows, but {counts} are expected of {length}; the rows of {len(wrong):,} of "
        f"{len(rows):,} videos fit no rule{_hint(wrong, rows, lengths, expected, snippet)}"
    )


def _hint(
    wrong: list[str],
    rows: Mapping[str, int],
    lengths: Mapping[str, Known],
    expected: Mapping[str, Mapping[str, int]],
    snippet: int,
) -> str:
    """What most probably happened, as the end of the sentence."""
    for times in (10, 5):
        if all(rows[id] % times == 0 and rows[id] // times in expected[id].values() for id in wrong):
            return f": exactly {times}x as many, so crops were not averaged but stored one after another"
    if set(rows.values()) == {32}:
        return ": 32 in every video, as segments of whole videos have; if they are, give --layout segments32"
    ratios = sorted(frames / rows[id] for id in wrong if (frames := lengths[id].frames) is not None)
    other = round(ratios[len(ratios) // 2]) if ratios else snippet
    if other not in (0, snippet) and all(rows[id] in rules(lengths[id], other).values() for id in expected):
        return f": rows of {other} frames would; if a row covers so many, give --snippet {other}"
    return "; if the public counts are wrong, give --lengths trust"
