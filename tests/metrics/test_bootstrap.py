"""Intervals: a draw is the same metric of the repeated videos, and the same seed is the same draw."""

import numpy as np
import pytest

from vad.metrics import bootstrap, frame

METRICS = (
    (frame.auroc_of_counts, frame.auroc),
    (frame.ap_step_of_counts, frame.ap_step),
    (frame.ap_trapezoid_of_counts, frame.ap_trapezoid),
    (frame.eer_of_counts, frame.eer),
)


def case(videos=8, length=60, decimals=1, seed=0):
    generator = np.random.default_rng(seed)
    video = np.repeat(np.arange(videos), length)
    label = generator.random(len(video)) < 0.2
    return label, np.round(generator.normal(size=len(video)) + label, decimals), video


def drawn(label, score, video, weights, **options):
    bins = bootstrap.RankBins.of(score, video, len(weights), **options)
    return bootstrap.draw_metrics(bins.table(label), bins.table(~label), weights, *(m for m, _ in METRICS))


def test_a_draw_equals_the_metric_of_the_repeated_videos():
    label, score, video = case()
    weights = bootstrap.draw_weights(np.zeros(8, dtype=int), 150, seed=0)
    got = drawn(label, score, video, weights)
    for draw in range(150):
        again = np.repeat(np.arange(len(video)), weights[video, draw])
        for samples, (_, exact) in zip(got, METRICS, strict=True):
            assert samples[draw] == pytest.approx(exact(label[again], score[again]), abs=1e-12)


def test_bins_keep_ties_together_and_move_a_draw_by_little():
    label, score, video = case(videos=20, length=2000, decimals=6)
    weights = bootstrap.draw_weights(np.zeros(20, dtype=int), 20, seed=0)
    exact = drawn(label, score, video, weights, bins=len(score))
    for bins in (64, 512):
        binned = drawn(label, score, video, weights, bins=bins)
        assert np.abs(binned[0] - exact[0]).max() < 1 / (2 * bins)
    found = bootstrap.RankBins.of(score, video, 20, bins=64)
    bin_of = found.cell // 20
    order = np.argsort(score, kind="stable")
    assert found.bins <= 64
    assert (np.diff(bin_of[order]) >= 0).all()
    assert (np.diff(bin_of[order])[np.diff(score[order]) == 0] == 0).all()
    assert set(bin_of) == set(range(found.bins))


def test_draws_are_a_function_of_the_seed_and_keep_the_size_of_each_stratum():
    strata = np.array([0, 0, 0, 1, 1])
    weights = bootstrap.draw_weights(strata, 500, seed=3)
    assert (weights == bootstrap.draw_weights(strata, 500, seed=3)).all()
    assert (weights != bootstrap.draw_weights(strata, 500, seed=4)).any()
    assert (weights[:3].sum(axis=0) == 3).all() and (weights[3:].sum(axis=0) == 2).all()
    assert weights.mean(axis=1) == pytest.approx(np.ones(5), abs=0.1)


def test_the_interval_is_the_percentiles_of_the_draws_that_are_defined():
    samples = np.append(np.arange(101) / 100, np.nan)
    assert bootstrap.interval(samples) == pytest.approx((0.025, 0.975))
    assert bootstrap.interval(np.array([np.nan, np.nan, 1.0])) == (None, None)
    assert bootstrap.interval(np.zeros(0)) == (None, None)


def test_the_interval_covers_the_figure_about_as_often_as_it_says():
    """200 samples of 40 videos each, from a known distribution of a per-video value."""
    generator = np.random.default_rng(0)
    weights = bootstrap.draw_weights(np.zeros(40, dtype=int), 400, seed=0)
    covered = 0
    for _ in range(200):
        low, high = bootstrap.interval(bootstrap.mean_draws(generator.normal(size=40), weights))
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_means_leave_out_what_is_undefined():
    weights = np.array([[1, 0], [1, 2], [1, 1]])
    assert bootstrap.mean_draws(np.array([1.0, 4.0, np.nan]), weights) == pytest.approx([2.5, 4.0])


def test_chunks_of_draws_do_not_change_them(monkeypatch):
    label, score, video = case()
    weights = bootstrap.draw_weights(np.zeros(8, dtype=int), 50, seed=0)
    whole = drawn(label, score, video, weights)
    monkeypatch.setattr(bootstrap, "CHUNK", 7)
    for a, b in zip(whole, drawn(label, score, video, weights), strict=True):
        assert a == pytest.approx(b, abs=1e-14)
