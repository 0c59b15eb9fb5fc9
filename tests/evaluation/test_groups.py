"""Where videos are composed of clips that recur, intervals are over the groups that clips come from."""

from dataclasses import replace

import numpy as np
import pytest
from toy_truth import ToyTruth, frames_of, header

from vad.evaluation import Evaluated, evaluate, paired_difference
from vad.metrics import frame
from vad.metrics.bootstrap import draw_weights
from vad.scores import Scores
from vad.types import Truth, Video


def composed(groups: int = 8, *, videos: int = 20, parts: int = 6, length: int = 12, spread: float = 2.0):
    """Videos of parts, each from one of some groups, which shift their scores alike; every second one is abnormal."""
    generator = np.random.default_rng(0)
    shift = spread * generator.normal(size=groups)
    test, score = [], []
    for index in range(videos):
        group = np.repeat(generator.integers(groups, size=parts), length)
        y = np.repeat(generator.random(parts) < 0.5 * (index % 2), length).astype(np.uint8)
        video = Video(f"v{index}", "test", label=int(y.any()), frames=len(y))
        test.append((video, Truth(y, groups=(10 * group + 3).astype(np.int16))))
        score.append(y + shift[group] + generator.normal(size=len(y)))
    benchmark = ToyTruth(test)
    return benchmark, Scores(frames_of(benchmark), np.concatenate(score), header=header(protocol="weak"))


def joined(benchmark):
    """Labels and groups of all frames."""
    truths = [benchmark.truth(video) for video in benchmark.videos("test")]
    return np.concatenate([t.frames for t in truths]), np.concatenate([t.groups for t in truths])


def aurocs_of_draws(benchmark, scores, draws, seed=0):
    """The slow way: frames of a group are repeated as often as it is drawn, in all videos alike."""
    label, group = joined(benchmark)
    unit = np.unique(group, return_inverse=True)[1]
    weights = draw_weights(np.zeros(unit.max() + 1), draws, seed)
    rows = [np.repeat(np.arange(len(label)), weights[unit, draw]) for draw in range(draws)]
    return np.array([frame.auroc(label[again], scores.score[again]) for again in rows])


def test_intervals_are_over_groups():
    benchmark, scores = composed()
    found = evaluate(scores, benchmark, draws=200, seed=4).metrics["micro_auroc"]
    wanted = np.nanpercentile(aurocs_of_draws(benchmark, scores, 200, seed=4), [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx(tuple(wanted), abs=1e-12)


def test_what_a_camera_makes_easy_or_hard_widens_the_interval():
    """Every video holds frames of every group, so that videos are all alike and groups are not."""
    generator = np.random.default_rng(0)
    shift = generator.normal(1.0, 0.7, size=30)
    test, score = [], []
    for index in range(10):
        group = np.repeat(np.arange(30, dtype=np.int16), 4)
        y = np.tile([0, 0, index % 2, index % 2], 30).astype(np.uint8)
        test.append((Video(f"v{index}", "test", label=index % 2, frames=len(y)), Truth(y, groups=group)))
        score.append(y * shift[group] + generator.normal(size=len(y)))
    benchmark = ToyTruth(test)
    alone = ToyTruth([(video, replace(truth, groups=None)) for video, truth in test])
    scores = Scores(frames_of(benchmark), np.concatenate(score), header=header(protocol="weak"))
    groups, videos = (evaluate(scores, b, draws=200).metrics["micro_auroc"] for b in (benchmark, alone))
    assert groups.value == videos.value
    assert groups.high - groups.low > 1.5 * (videos.high - videos.low)


def test_a_difference_is_over_the_same_draws_of_groups():
    benchmark, first = composed()
    second = replace(first, score=first.score + np.random.default_rng(1).normal(size=len(first.score)))
    found = paired_difference(*([Evaluated(s, benchmark, draws=200)] for s in (first, second)))["micro_auroc"]
    samples = aurocs_of_draws(benchmark, first, 200) - aurocs_of_draws(benchmark, second, 200)
    assert (found.low, found.high) == pytest.approx(tuple(np.nanpercentile(samples, [2.5, 97.5])), abs=1e-12)


def test_the_mean_over_groups_does_not_see_what_lies_between_them():
    near, far = (evaluate(*composed(spread=s)[::-1], draws=0).metrics for s in (0.0, 50.0))
    assert near["group_macro_auroc"].value == pytest.approx(far["group_macro_auroc"].value, abs=1e-12)
    assert abs(near["micro_auroc"].value - far["micro_auroc"].value) > 0.02


def test_groups_of_one_class_are_counted_and_left_out_of_the_mean():
    benchmark, scores = composed()
    before = evaluate(scores, benchmark, draws=50)
    label, group = joined(benchmark)
    quiet = np.unique(group)[0]
    for video in benchmark.videos("test"):
        truth = benchmark.known[video.id]
        benchmark.known[video.id] = replace(truth, frames=truth.frames * (truth.groups != quiet))
    after = evaluate(scores, benchmark, draws=50)
    assert before.counts["groups"] == after.counts["groups"] == 8
    assert (before.counts["single_class_groups"], after.counts["single_class_groups"]) == (0, 1)
    rest = [frame.auroc(label[group == g], scores.score[group == g]) for g in np.unique(group)[1:]]
    assert after.metrics["group_macro_auroc"].value == pytest.approx(np.mean(rest), abs=1e-12)
    assert after.metrics["group_macro_auroc"].low is not None


def test_videos_that_share_clips_have_no_interval_of_their_own():
    benchmark, scores = composed()
    metrics = evaluate(scores, benchmark, draws=50).metrics
    assert all(metrics[f"macro_auroc_{c}"].low is None for c in ("skip", "pad", "one"))
