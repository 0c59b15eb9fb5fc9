"""What each head says of each kind of object: `python experiments/object_kinds.py RUN`.

    boxes that were scored, regions of the truth -> the kind of each box -> a table of heads by kinds

A box is of the kind of the region that it overlaps most, by an IoU of at least 0.1 as RBDC asks; one that touches no
region is normal, and one that touches them by less is left out. Each cell holds the mean z-score of the kind's boxes on
training samples, and the AUROC of these boxes against the normal ones in percent, with its 95 % interval over videos.
Takes a finished run on a benchmark whose truth has regions and kinds, such as `Synthetic`.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vad.aggregation import fuse
from vad.benchmarks import Benchmark
from vad.comparison.collect import read_run
from vad.comparison.curves import benchmark_of
from vad.errors import DataError, VadError
from vad.extract.boxes import iou
from vad.metrics import bootstrap, frame
from vad.scores import Scores
from vad.types import Truth

OVERLAP = 0.1
NORMAL = "normal"
UNKNOWN = ""  # touches a region, but not enough to be of its kind, or the region's kind is not known
DRAWS = 1000


def main() -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run, with scores of objects")
    run = read_run(parser.parse_args().run)
    scores = Scores.load(run.folder.scores)
    kind, video = kinds_of_boxes(scores, benchmark_of(run))
    print("\n".join(table(z_scores(scores), kind, video)))


def z_scores(scores: Scores) -> dict[str, np.ndarray]:
    """Of each head, float64 (m,), and the score that they were fused to."""
    alone = {
        head: fuse({head: column}, scores.statistics, kind="zscore", group=scores.group)
        for head, column in scores.heads.items()
    }
    return {**alone, "all": scores.score}


def kinds_of_boxes(scores: Scores, benchmark: Benchmark) -> tuple[np.ndarray, np.ndarray]:
    """The kind of every scored box, str (m,), and the number of its video, int64 (m,)."""
    record = scores.record
    if record.frame is None or record.box is None:
        raise DataError("these are no scores of objects, so there are no boxes to tell kinds of")
    videos = {video.id: video for video in benchmark.videos("test")}
    kind = np.full(len(record), NORMAL, dtype=object)
    for index, scored in enumerate(record.videos):
        rows = slice(int(record.offsets[index]), int(record.offsets[index + 1]))
        truth = benchmark.truth(videos[scored.id])
        kind[rows] = kinds_in_video(record.frame[rows], record.box[rows], truth)
    return kind, np.repeat(np.arange(len(record.videos)), np.diff(record.offsets))


def kinds_in_video(frame: np.ndarray, box: np.ndarray, truth: Truth) -> np.ndarray:
    """Kinds of boxes (m, 4) in frames (m,) of one video."""
    kind = np.full(len(frame), NORMAL, dtype=object)
    of_region = kinds_of_regions(truth)
    if truth.regions is None:
        return kind
    for moment in np.unique(truth.regions.frame):
        here, there = np.flatnonzero(frame == moment), np.flatnonzero(truth.regions.frame == moment)
        if len(here):
            overlap = iou(box[here], truth.regions.box[there])
            best = overlap.max(1)
            found = np.where(best >= OVERLAP, of_region[there][overlap.argmax(1)], UNKNOWN)
            kind[here] = np.where(best > 0, found, NORMAL)
    return kind


def kinds_of_regions(truth: Truth) -> np.ndarray:
    """The kind of every region, str (r,): the one kind that is in all frames of its track, or unknown if two are."""
    if truth.regions is None or truth.kinds is None:
        if truth.frames.any():
            raise DataError("the truth names no regions or no kinds, so it does not say of which kind an object is")
        return np.zeros(0, dtype=object)
    kind = np.full(len(truth.regions), UNKNOWN, dtype=object)
    for track in np.unique(truth.regions.track):
        rows = truth.regions.track == track
        possible = [name for name, frames in truth.kinds.items() if frames[truth.regions.frame[rows]].all()]
        if len(possible) == 1:
            kind[rows] = possible[0]
    return kind


def table(columns: Mapping[str, np.ndarray], kind: np.ndarray, video: np.ndarray) -> list[str]:
    """Lines of Markdown: a row for each kind, a column for each head."""
    videos = int(video.max()) + 1
    weights = bootstrap.draw_weights(np.zeros(videos, np.int64), DRAWS, seed=0)
    normal = kind == NORMAL
    lines = ["| kind | boxes | videos |" + "".join(f" {name} |" for name in columns), "|---" * (3 + len(columns)) + "|"]
    for name in [NORMAL, *sorted(set(kind) - {NORMAL, UNKNOWN})]:
        these = kind == name
        cells = [name, f"{these.sum():,}", str(len(np.unique(video[these])))]
        for score in columns.values():
            cell = f"{score[these].mean():+.2f}"
            if name != NORMAL:
                compared = these | normal
                bins = bootstrap.RankBins.of(score[compared], video[compared], videos)
                tables = bins.table(these[compared]), bins.table(normal[compared])
                (samples,) = bootstrap.draw_metrics(*tables, weights, frame.auroc_of_counts)
                low, high = bootstrap.interval(samples)
                between = "" if low is None or high is None else f" [{100 * low:.0f}, {100 * high:.0f}]"
                cell += f"; {100 * frame.auroc(these[compared], score[compared]):.1f}{between}"
            cells.append(cell)
        lines.append("| " + " | ".join(cells) + " |")
    if left_out := int((kind == UNKNOWN).sum()):
        lines += ["", f"{left_out:,} boxes that touch a region, but are of no kind for sure, are left out."]
    return lines


if __name__ == "__main__":
    try:
        main()
    except VadError as error:
        sys.exit(str(error))
