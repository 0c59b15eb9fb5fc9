"""P13: RBDC and TBDC against a plain loop over detections. P14: micro AUROC of ten million frames against scikit-learn.

    python experiments/speed/metrics.py

The plain loop takes one detection after another, overlaps it with the regions of its frame by NumPy, and recomputes the
share of tracks found, as published code does. A second loop on Python lists, with counts kept up to date, is printed
beside it. Loops are run on 10^5 detections, the closed form on 10^5 and 10^6. Every ratio is that of the medians of
interleaved repeats; a difference is a failure.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from vad.metrics import frame, region_track

FRAMES, TRACKS, LENGTH = 40_000, 160, 120  # about what ShanghaiTech's test split has


def case(detections: int, seed: int = 0) -> tuple[dict[str, np.ndarray], int]:
    """Detections and tracks at random; every fourth detection lies near a region."""
    generator = np.random.default_rng(seed)
    start = generator.integers(0, FRAMES - LENGTH, TRACKS)
    region_frame = (start[:, None] + np.arange(LENGTH)).reshape(-1)
    corner = generator.uniform(0, 700, (TRACKS, 2)).repeat(LENGTH, axis=0) + generator.normal(
        0, 3, (TRACKS * LENGTH, 2)
    )
    region_box = np.concatenate([corner, corner + 60], axis=1)
    at = generator.integers(0, FRAMES, detections)
    box = generator.uniform(0, 800, (detections, 2))
    near = generator.integers(0, len(region_frame), detections // 4)
    at[: len(near)], box[: len(near)] = region_frame[near], corner[near] + generator.normal(0, 20, (len(near), 2))
    return {
        "frame": at,
        "box": np.concatenate([box, box + 60], axis=1),
        "score": generator.normal(size=detections),  # distinct, so that the order of ties does not count
        "region_frame": region_frame,
        "region_box": region_box,
        "region_track": np.arange(TRACKS).repeat(LENGTH),
    }, FRAMES


def closed_form(given: dict[str, np.ndarray], frames: int) -> tuple[float, float]:
    found = region_track.find(
        frame=given["frame"],
        box=given["box"],
        score=given["score"],
        region_frame=given["region_frame"],
        region_box=given["region_box"],
        region_track=given["region_track"],
    )
    return region_track.criteria(found, frames)


def plain_loop(given: dict[str, np.ndarray], frames: int) -> tuple[float, float]:
    """One detection after another, each its own threshold, areas by trapezoids."""
    box, region_box, track = given["box"], given["region_box"], given["region_track"]
    in_frame = {n: np.flatnonzero(given["region_frame"] == n) for n in np.unique(given["region_frame"])}
    found, false_positives = np.zeros(len(track), dtype=bool), 0
    curve = [(0, 0.0, 0.0)]
    for index in np.argsort(-given["score"], kind="stable"):
        here = in_frame.get(given["frame"][index], np.zeros(0, dtype=np.int64))
        side = np.minimum(box[index, 2:], region_box[here, 2:]) - np.maximum(box[index, :2], region_box[here, :2])
        inter = np.maximum(side, 0).prod(axis=1)
        areas = (region_box[here, 2:] - region_box[here, :2]).prod(axis=1)
        overlap = inter / ((box[index, 2:] - box[index, :2]).prod() + areas - inter) >= 0.1
        found[here[overlap]] = True
        false_positives += not overlap.any()
        share = np.mean(np.bincount(track[found], minlength=TRACKS) / LENGTH >= 0.1)
        curve.append((false_positives, float(found.mean()), float(share)))
    return areas_under(curve, frames)


def list_loop(given: dict[str, np.ndarray], frames: int) -> tuple[float, float]:
    """The same on Python lists, with counts of hits kept up to date."""
    box, score, regions = given["box"].tolist(), given["score"].tolist(), given["region_box"].tolist()
    in_frame, track = defaultdict(list), given["region_track"].tolist()
    for region, number in enumerate(given["region_frame"].tolist()):
        in_frame[number].append(region)
    found, hits, false_positives = [False] * len(regions), [0] * TRACKS, 0
    curve = [(0, 0.0, 0.0)]
    for index in sorted(range(len(score)), key=lambda i: -score[i]):
        hit = False
        for region in in_frame.get(int(given["frame"][index]), ()):
            a, b = box[index], regions[region]
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            inter = max(w, 0.0) * max(h, 0.0)
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
            if inter / union >= 0.1:
                hit = True
                if not found[region]:
                    found[region] = True
                    hits[track[region]] += 1
        false_positives += not hit
        share = sum(count / LENGTH >= 0.1 for count in hits) / TRACKS
        curve.append((false_positives, sum(hits) / len(regions), share))
    return areas_under(curve, frames)


def areas_under(curve: list[tuple[int, float, float]], frames: int) -> tuple[float, float]:
    """Areas by trapezoids up to one false positive per frame, the last value extended to there."""
    curve = [*curve, (max(frames, curve[-1][0]), *curve[-1][1:])]
    areas = [0.0, 0.0]
    for (f0, *y0), (f1, *y1) in zip(curve, curve[1:], strict=False):  # noqa: RUF007
        if f0 < frames and f1 > f0:
            for k in (0, 1):
                areas[k] += (y0[k] + y1[k]) / 2 * (f1 - f0) / frames
    return areas[0], areas[1]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})"


def regions_and_tracks(repeats: int) -> bool:
    given, frames = case(100_000)
    expected, got = plain_loop(given, frames), closed_form(given, frames)
    difference = max(abs(a - b) for a, b in zip(expected, got, strict=True))
    large, _ = case(1_000_000)
    ours, theirs, lists, million = [], [], [], []
    for _ in range(repeats):
        ours.append(seconds(lambda: closed_form(given, frames)))
        theirs.append(seconds(lambda: plain_loop(given, frames)))
        lists.append(seconds(lambda: list_loop(given, frames)))
        million.append(seconds(lambda: closed_form(large, frames)))
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"P13 10^5 detections: closed form {spread(ours)}, plain loop {spread(theirs)}, ratio {ratio:.0f}")
    print(f"P13 loop on lists {spread(lists)}, ratio {statistics.median(lists) / statistics.median(ours):.0f}")
    print(
        f"P13 10^6 detections: closed form {spread(million)}; loop, if linear: {10 * statistics.median(theirs):.0f} s"
    )
    print(f"P13 RBDC {got[0]:.6f}, TBDC {got[1]:.6f}, greatest difference {difference:.1e}")
    return ratio >= 100 and difference < 1e-12


def micro_auroc(repeats: int, frames: int) -> bool:
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    label = generator.random(frames) < 0.1
    held = True
    for name, score in (
        ("distinct scores", generator.normal(size=frames) + label),
        ("16-frame snippets", np.repeat(generator.normal(size=frames // 16 + 1), 16)[:frames]),
    ):
        ours, theirs = [], []
        difference = abs(frame.auroc(label, score) - roc_auc_score(label, score))
        for _ in range(repeats):
            ours.append(seconds(lambda score=score: frame.auroc(label, score)))  # type: ignore[misc]
            theirs.append(seconds(lambda score=score: roc_auc_score(label, score)))  # type: ignore[misc]
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(
            f"P14 {frames:,} frames, {name}: {spread(ours)}, scikit-learn {spread(theirs)}, "
            f"ratio {ratio:.1f}, difference {difference:.1e}"
        )
        held &= ratio >= 1 and difference < 1e-12
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=10_000_000)
    options = parser.parse_args()
    held = [regions_and_tracks(options.repeats), micro_auroc(options.repeats, options.frames)]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
