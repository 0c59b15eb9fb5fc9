"""RBDC and TBDC: the worked cases, and equality with a plain loop over detections."""

import itertools

import numpy as np
import pytest

from vad.errors import ScoresError
from vad.metrics import bootstrap, region_track

B, X, C = (0, 0, 10, 10), (30, 30, 40, 40), (100, 100, 110, 110)  # half open: inclusive corners + 1


def measure(detections, regions, frames, ties="group", **options):
    """Detections as (score, frame, box), regions as (frame, box, track)."""
    found = region_track.find(
        frame=np.array([d[1] for d in detections], dtype=np.int64),
        box=np.array([d[2] for d in detections], dtype=np.float32).reshape(-1, 4),
        score=np.array([d[0] for d in detections], dtype=np.float64),
        region_frame=np.array([r[0] for r in regions], dtype=np.int64),
        region_box=np.array([r[1] for r in regions], dtype=np.float32).reshape(-1, 4),
        region_track=np.array([r[2] for r in regions], dtype=np.int64),
        ties=ties,
        **options,
    )
    return region_track.criteria(found, frames)


T1 = [(0.9, 3, B), (0.8, 0, B), (0.7, 0, X), (0.6, 1, B), (0.5, 2, B)]
T1_TRUTH = [(0, B, 0), (1, B, 0)]


def same_score(detections, order):
    return [(0.5, *detections[i][1:]) for i in order]


def test_t1_basic():
    assert measure(T1, T1_TRUTH, 4) == (0.625, 0.75)


@pytest.mark.parametrize(
    ("order", "ties", "expected"),
    [
        ((0, 1, 2, 3, 4), "order", (0.625, 0.75)),
        ((0, 2, 4, 1, 3), "order", (0.25, 0.25)),
        ((1, 3, 0, 2, 4), "order", (1.0, 1.0)),
        ((0, 1, 2, 3, 4), "group", (0.625, 0.625)),
        ((1, 3, 0, 2, 4), "group", (0.625, 0.625)),
    ],
)
def test_t2_ties_enter_together_or_in_order(order, ties, expected):
    assert measure(same_score(T1, order), T1_TRUTH, 4, ties) == pytest.approx(expected, abs=1e-15)


def test_t3_one_detection_finds_two_regions_and_duplicates_are_free():
    truth = [(0, (0, 0, 10, 10), 0), (0, (10, 0, 20, 10), 1)]
    detections = [(0.95, 0, B), (0.9, 0, B), (0.8, 0, (0, 0, 20, 10)), (0.6, 0, X), (0.5, 1, X)]
    assert measure(detections, truth, 2) == (1.0, 1.0)


def test_t4_a_track_needs_a_tenth_of_its_regions():
    truth = [(f, B, 0) for f in range(10)] + [(f, C, 1) for f in range(25)]
    detections = [(0.9, 0, C), (0.8, 1, C), (0.7, 20, X), (0.6, 2, C), (0.5, 21, X), (0.4, 0, B)]
    rbdc, tbdc = measure(detections, truth, 25)
    assert rbdc == pytest.approx(97 / 875, abs=1e-15)
    assert tbdc == pytest.approx(0.94, abs=1e-15)


@pytest.mark.parametrize(("frames", "expected"), [(6, (7 / 9, 5 / 6)), (3, (5 / 9, 2 / 3))])
def test_t5_frames_without_regions_count(frames, expected):
    truth = [(f, B, 0) for f in range(3)]
    detections = [(0.9, 3, B), (0.8, 0, B), (0.7, 1, B), (0.6, 4, B), (0.5, 2, B)]
    assert measure(detections, truth, frames) == pytest.approx(expected, abs=1e-15)


def test_t6_the_curve_is_cut_at_one_false_positive_per_frame():
    detections = [(0.9, 3, B), (0.8, 0, B), (0.7, 0, X), (0.6, 1, B), (0.5, 2, B)]
    assert measure(detections, T1_TRUTH, 2) == (0.25, 0.5)
    tied = [detections[0]] + [(0.8, *d[1:]) for d in detections[1:]]
    assert measure(tied, T1_TRUTH, 2) == (0.125, 0.125)


def test_t7_boxes_are_end_exclusive():
    """Inclusive corners [0,0,10,10] and [0,0,2,4]: 15 / 121 is a hit; read as half open, 8 / 100 is none."""
    assert measure([(0.9, 0, (0, 0, 3, 5))], [(0, (0, 0, 11, 11), 0)], 1) == (1.0, 1.0)
    assert measure([(0.9, 0, (0, 0, 2, 4))], [(0, (0, 0, 10, 10), 0)], 1) == (0.0, 0.0)


def test_t8_no_detection_is_zero_and_no_region_is_undefined():
    assert measure([], T1_TRUTH, 4) == (0.0, 0.0)
    assert all(np.isnan(measure(T1, [], 4)))


def test_nan_is_refused():
    with pytest.raises(ScoresError, match="NaN"):
        measure([(float("nan"), 0, B)], T1_TRUTH, 4)


def test_empty_boxes_overlap_nothing():
    assert measure([(0.9, 0, (5, 5, 5, 5))], [(0, (5, 5, 5, 5), 0)], 1) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("length", "alpha"), [(n, 0.1) for n in (1, 3, 9, 10, 11, 29, 30, 70, 110, 4999)] + [(100, 0.07), (50, 0.14)]
)
def test_a_track_is_found_at_the_least_count_whose_share_reaches_alpha(length, alpha):
    """Hits come one by one, before each a false positive: the area tells at which hit the track was found."""
    needed = next(k for k in range(1, length + 1) if k / length >= alpha)
    detections = [d for k in range(length) for d in ((-k, k, X), (-k - 0.5, k, B))]
    _, tbdc = measure(detections, [(f, B, 0) for f in range(length)], length, alpha=alpha)
    assert tbdc == pytest.approx(1 - needed / length, abs=1e-12)


def plain_loop(score, frame, box, region_frame, region_box, track, frames, ties, beta=0.1, alpha=0.1):
    """The definition, one detection after another, with the curve's points and trapezoids."""
    order = sorted(range(len(score)), key=lambda i: -score[i])
    found, curve, false_positives = [False] * len(track), [(0, 0.0, 0.0)], 0
    tracks = sorted(set(track))
    at = 0
    while at < len(order):
        stop = at + 1
        while ties == "group" and stop < len(order) and score[order[stop]] == score[order[at]]:
            stop += 1
        for i in order[at:stop]:
            hit = False
            for g in range(len(track)):
                if region_frame[g] != frame[i]:
                    continue
                a, b = box[i], region_box[g]
                w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                inter = max(w, 0) * max(h, 0)
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
                if union > 0 and inter / union >= beta:
                    hit = found[g] = True
            false_positives += not hit
        share = [[found[g] for g in range(len(track)) if track[g] == t] for t in tracks]
        curve.append(
            (
                false_positives,
                sum(found) / len(found),
                sum(sum(s) / len(s) >= alpha for s in share) / len(tracks),
            )
        )
        at = stop
    curve.append((max(frames, curve[-1][0]), *curve[-1][1:]))
    areas = [0.0, 0.0]
    for (f0, *y0), (f1, *y1) in itertools.pairwise(curve):
        if f0 >= frames or f1 == f0:
            continue
        cut = min(f1, frames)
        for k in (0, 1):
            end = y0[k] + (y1[k] - y0[k]) * (cut - f0) / (f1 - f0)
            areas[k] += (y0[k] + end) / 2 * (cut - f0) / frames
    return areas


def random_case(generator):
    frames = int(generator.integers(1, 8))
    d, g = int(generator.integers(0, 15)), int(generator.integers(1, 12))

    def boxes(n):
        corner = generator.integers(0, 12, (n, 2))
        return np.concatenate([corner, corner + generator.integers(0, 9, (n, 2))], axis=1).astype(np.float64)

    return {
        "score": generator.integers(0, int(generator.integers(1, 12)) + 1, d).astype(np.float64),
        "frame": generator.integers(0, frames, d),
        "box": boxes(d),
        "region_frame": generator.integers(0, frames, g),
        "region_box": boxes(g),
        "region_track": generator.integers(0, 4, g),
    }, int(generator.integers(1, 8))


def check_against_the_plain_loop(count, seed, ties):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        case, frames = random_case(generator)
        got = region_track.criteria(region_track.find(**case, ties=ties), frames)
        case["track"] = case.pop("region_track")
        expected = plain_loop(**{k: v.tolist() for k, v in case.items()}, frames=frames, ties=ties)
        assert max(abs(a - b) for a, b in zip(got, expected, strict=True)) < 1e-12


@pytest.mark.parametrize("ties", ["group", "order"])
def test_equal_to_a_plain_loop_on_random_cases_with_ties(ties):
    check_against_the_plain_loop(1500, 1, ties)


@pytest.mark.slow
@pytest.mark.parametrize("ties", ["group", "order"])
@pytest.mark.parametrize("seed", range(10, 15))
def test_equal_to_a_plain_loop_on_very_many_random_cases(ties, seed):
    check_against_the_plain_loop(10_000, seed, ties)


def test_pairs_are_found_across_slices(monkeypatch):
    generator = np.random.default_rng(2)
    cases = [random_case(generator) for _ in range(200)]
    whole = [region_track.criteria(region_track.find(**case), frames) for case, frames in cases]
    monkeypatch.setattr(region_track, "SLICE", 3)
    assert whole == [region_track.criteria(region_track.find(**case), frames) for case, frames in cases]


def test_a_draw_equals_the_criteria_of_the_repeated_videos():
    """Video v drawn w times is w copies of it."""
    generator = np.random.default_rng(3)
    units, frames_each = 4, 3
    for _ in range(60):
        case, _ = random_case(generator)
        case["frame"] = generator.integers(0, units * frames_each, len(case["score"]))
        case["region_frame"] = generator.integers(0, units * frames_each, len(case["region_frame"]))
        case["region_track"] += 10 * (case["region_frame"] // frames_each)
        unit, region_unit = case["frame"] // frames_each, case["region_frame"] // frames_each
        found = region_track.find(**case, unit=unit, region_unit=region_unit, ties="group")
        weights = bootstrap.draw_weights(np.zeros(units, dtype=int), 6, seed=5)
        rbdc, tbdc = region_track.draws(found, np.full(units, frames_each), weights)
        for draw in range(weights.shape[1]):
            copies = [(v, c) for v in range(units) for c in range(weights[v, draw])]
            repeated = {name: [] for name in case}
            for new, (v, _) in enumerate(copies):
                for name in ("score", "box"):
                    repeated[name].append(case[name][unit == v])
                repeated["frame"].append(case["frame"][unit == v] % frames_each + new * frames_each)
                repeated["region_box"].append(case["region_box"][region_unit == v])
                repeated["region_frame"].append(
                    case["region_frame"][region_unit == v] % frames_each + new * frames_each
                )
                repeated["region_track"].append(case["region_track"][region_unit == v] + 1000 * new)
            joined = {name: np.concatenate(parts) for name, parts in repeated.items()}
            expected = region_track.criteria(region_track.find(**joined), units * frames_each)
            assert (rbdc[draw], tbdc[draw]) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.fixture(scope="module")
def shanghaitech_tracks():
    """Frames, boxes and tracks of the published annotation, read plainly; 107 videos in 40,791 frames."""
    import os
    from pathlib import Path

    root = Path(os.environ.get("VAD_DATA", "data")) / "annotations" / "shanghaitech"
    if not (root / "tracks").is_dir():
        pytest.skip("needs real data: VAD_DATA names no folder with annotations/shanghaitech/tracks below it")
    frame, box, track, label, start = [], [], [], [], 0
    for mask in sorted((root / "testing" / "test_frame_mask").glob("*.npy")):
        labels = np.load(mask, allow_pickle=False)
        rows = np.loadtxt(root / "tracks" / f"{mask.stem}.txt", delimiter=",", dtype=np.int64, ndmin=2)
        frame.append(rows[:, 1] + start)
        box.append(rows[:, 2:6] + [0, 0, 1, 1])
        track.append(rows[:, 0] + 1000 * len(track))
        label.append(labels)
        start += len(labels)
    return tuple(np.concatenate(part) for part in (frame, box, track, label))


def test_t9_published_tracks(shanghaitech_tracks):
    frame, box, track, label = shanghaitech_tracks
    truth = {"region_frame": frame, "region_box": box, "region_track": track}
    assert (len(frame), len(np.unique(track)), len(label)) == (18937, 158, 40791)
    perfect = region_track.find(frame=frame, box=box, score=np.ones(len(frame)), **truth)
    assert region_track.criteria(perfect, len(label)) == (1.0, 1.0)
    everything = {"frame": np.arange(len(label)), "box": np.tile([0, 0, 856, 480], (len(label), 1))}
    constant = region_track.find(**everything, score=np.ones(len(label)), **truth)
    assert region_track.criteria(constant, len(label)) == pytest.approx((0.0188, 0.0579), abs=5e-5)
    oracle = region_track.find(**everything, score=label, **truth)
    assert region_track.criteria(oracle, len(label)) == pytest.approx((0.0294, 0.0907), abs=5e-5)
