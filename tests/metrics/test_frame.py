"""Metrics of frames: the worked cases of the literature's conventions, scikit-learn, and slow twins."""

import numpy as np
import pytest

from vad.errors import ScoresError
from vad.metrics import frame


def test_m1_micro_depends_on_the_scale_between_videos_and_macro_does_not():
    label = [np.array([0, 0, 1, 1])] * 2
    score = [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.6, 0.7, 0.8, 0.9])]
    assert frame.auroc(np.concatenate(label), np.concatenate(score)) == 0.75
    assert frame.macro_auroc(label, score, "skip") == 1.0


@pytest.mark.parametrize(
    ("label", "score", "convention", "expected"),
    [
        ([1, 1, 1], [0.5, 0.6, 0.7], "skip", np.nan),
        ([1, 1, 1], [0.5, 0.6, 0.7], "pad", 1.0),
        ([1, 1, 1], [0.5, 0.6, 0.7], "one", 1.0),
        ([0, 0, 0], [0.5, 0.6, 0.7], "pad", 1.0),
        ([0, 1], [0.5, 0.5], "skip", 0.5),
        ([0, 1], [0.5, 0.5], "pad", 0.875),
        ([0, 1], [0.9, 0.1], "one", 0.0),
        ([0, 1], [0.9, 0.1], "pad", 0.75),
        ([0, 1, 0, 1], [0.4, 0.3, 0.2, 0.1], "skip", 0.25),
        ([0, 1, 0, 1], [0.4, 0.3, 0.2, 0.1], "pad", 2 / 3),
        ([1, 1], [0.0, 0.5], "pad01", 2.5 / 3),
        ([1, 1], [0.0, 0.5], "pad", 1.0),
        ([0, 1], [np.inf, -np.inf], "pad", 0.75),
    ],
)
def test_m2_m3_conventions_for_videos_of_one_class(label, score, convention, expected):
    assert frame.video_auroc(np.array(label), np.array(score), convention) == pytest.approx(expected, nan_ok=True)


def test_pad_follows_its_closed_form():
    label, score = np.array([0, 0, 0, 0, 0, 1, 1, 1]), np.array([5.0, 4, 3, 1, 0, 4.5, 2, 2.5])
    a = frame.auroc(label, score)
    assert frame.video_auroc(label, score, "pad") == pytest.approx((15 * a + 3 + 5 + 1) / 24, abs=1e-15)


def test_eer_is_interpolated_between_all_vertices():
    label = np.array([0, 0, 0, 0, 1, 1, 1])
    score = np.array([0.1, 0.4, 0.35, 0.8, 0.3, 0.7, 0.9])
    assert frame.eer(label, score) == pytest.approx(1 / 3, abs=1e-15)
    assert frame.eer(label, label) == 0.0
    assert frame.eer(label, -label) == 1.0
    assert frame.eer(label, np.zeros(7)) == 0.5


@pytest.mark.parametrize(
    ("label", "score", "auroc", "step", "trapezoid"),
    [
        ([1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.5], 5 / 6, 0.5 + 0.5 * 2 / 3, 0.5 + 0.5 * (0.5 + 2 / 3) / 2),
        ([1, 1, 0, 0], [1, 1, 1, 1], 0.5, 0.5, 0.75),
        ([1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], 0.75, 0.5, 0.75),
    ],
)
def test_average_precision_by_step_and_by_trapezoid(label, score, auroc, step, trapezoid):
    label, score = np.array(label), np.array(score)
    assert frame.auroc(label, score) == pytest.approx(auroc, abs=1e-15)
    assert frame.ap_step(label, score) == pytest.approx(step, abs=1e-15)
    assert frame.ap_trapezoid(label, score) == pytest.approx(trapezoid, abs=1e-15)


def test_a_constant_score_has_the_known_figures():
    label = np.arange(100) < 30
    assert frame.auroc(label, np.ones(100)) == 0.5
    assert frame.ap_step(label, np.ones(100)) == 0.3
    assert frame.ap_trapezoid(label, np.ones(100)) == 0.65


def test_metrics_of_one_class_are_undefined():
    for metric in (frame.auroc, frame.eer):
        assert np.isnan(metric(np.ones(3), np.arange(3)))
        assert np.isnan(metric(np.zeros(3), np.arange(3)))
        assert np.isnan(metric(np.zeros(0), np.zeros(0)))
    assert np.isnan(frame.ap_step(np.zeros(3), np.arange(3)))


@pytest.mark.parametrize("metric", [frame.auroc, frame.ap_step, frame.ap_trapezoid, frame.eer])
def test_nan_other_labels_and_other_lengths_are_refused(metric):
    with pytest.raises(ScoresError, match="frame 1 is NaN"):
        metric(np.array([0, 1]), np.array([0.0, np.nan]))
    with pytest.raises(ScoresError, match="0 or 1"):
        metric(np.array([0, 2]), np.array([0.0, 1.0]))
    with pytest.raises(ScoresError, match="one length"):
        metric(np.array([0, 1]), np.array([0.0]))


def test_share_of_ties_is_that_of_the_largest_group():
    assert frame.share_of_ties(np.array([1.0, 1, 2, 3])) == 0.5


def slow_auroc(label, score):
    pairs = [(a > b) + 0.5 * (a == b) for a in score[label == 1] for b in score[label == 0]]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def slow_curve(label, score):
    """TP and FP at each distinct threshold, descending."""
    return [
        (int(((score >= t) & (label == 1)).sum()), int(((score >= t) & (label == 0)).sum()))
        for t in sorted(set(score.tolist()), reverse=True)
    ]


def slow_ap(label, score, trapezoid):
    total, before, recall_before, area = int(label.sum()), 1.0, 0.0, 0.0
    for tp, fp in slow_curve(label, score):
        precision, recall = tp / (tp + fp), tp / total
        area += (recall - recall_before) * ((precision + before) / 2 if trapezoid else precision)
        before, recall_before = precision, recall
    return area


def slow_eer(label, score):
    p, n = int(label.sum()), int((1 - label).sum())
    points = [(0.0, 1.0), *((fp / n, 1 - tp / p) for tp, fp in slow_curve(label, score))]
    for (f0, m0), (f1, m1) in zip(points, points[1:], strict=False):  # noqa: RUF007
        if f1 >= m1:
            return f0 + (m0 - f0) / ((f1 - f0) + (m0 - m1)) * (f1 - f0)
    raise AssertionError


def random_cases(count, seed):
    generator = np.random.default_rng(seed)
    for _ in range(count):
        n = int(generator.integers(1, 30))
        yield (
            generator.integers(0, 2, n),
            generator.integers(0, int(generator.integers(1, 30)), n) / 7.0 - 1,
        )


def differs(got, expected):
    return not (abs(got - expected) < 1e-12 or (np.isnan(got) and np.isnan(expected)))


@pytest.mark.parametrize(
    ("count", "seed"), [(2000, 0), *(pytest.param(20_000, s, marks=pytest.mark.slow) for s in range(1, 6))]
)
def test_equal_to_slow_twins_on_random_cases_with_ties_and_single_classes(count, seed):
    for label, score in random_cases(count, seed):
        auroc = slow_auroc(label, score)
        assert not differs(frame.auroc(label, score), auroc)
        assert not differs(frame.auroc_of_counts(*frame.counts(label, score)), auroc)
        if label.any():
            assert not differs(frame.ap_step(label, score), slow_ap(label, score, False))
            assert not differs(frame.ap_trapezoid(label, score), slow_ap(label, score, True))
        if label.any() and not label.all():
            assert not differs(frame.eer(label, score), slow_eer(label, score))


def test_equal_to_scikit_learn():
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

    generator = np.random.default_rng(1)
    for decimals in (1, 2, 8):
        label = generator.integers(0, 2, 5000)
        score = np.round(generator.normal(size=5000) + label, decimals)
        assert frame.auroc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
        assert frame.ap_step(label, score) == pytest.approx(average_precision_score(label, score), abs=1e-12)
        precision, recall, _ = precision_recall_curve(label, score)
        assert frame.ap_trapezoid(label, score) == pytest.approx(auc(recall, precision), abs=1e-12)


def test_products_of_counts_do_not_overflow():
    """As many pairs as UCF-Crime has: 8.6e10, more than int32 holds."""
    label = np.repeat([1, 0], [90_000, 1_000_000])
    score = np.repeat([1.0, 0.0, 1.0], [90_000, 500_000, 500_000])
    assert frame.auroc(label, score) == 0.75
