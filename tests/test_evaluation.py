"""Scores and truth to metrics.json."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toy_truth import ToyTruth, boxed, frame_scores_file, frames_of, header, toy

from vad.errors import ConfigError, DataError, ScoresError
from vad.evaluation import Evaluated, Metrics, evaluate, paired_difference
from vad.metrics import frame
from vad.scores import Scores
from vad.types import Record, ScoredVideo, Truth, Video

FRAME_METRICS = {
    "micro_auroc",
    "ap_step",
    "ap_trapezoid",
    "eer",
    "auroc_abnormal_videos",
    "ap_abnormal_videos",
    "macro_auroc_skip",
    "macro_auroc_pad",
    "macro_auroc_one",
}


def labels(benchmark):
    return [truth.frames for truth in benchmark.known.values()]


def per_video(scores):
    return np.split(scores.score, scores.record.offsets[1:-1])


def test_every_name_has_the_value_of_its_function():
    benchmark = toy()
    scores = frame_scores_file(benchmark)
    found = evaluate(scores, benchmark, draws=0).metrics
    y, s = np.concatenate(labels(benchmark)), scores.score
    abnormal = np.repeat([video.label for video in benchmark.videos("test")], [len(v) for v in labels(benchmark)]) == 1
    expected = {
        "micro_auroc": frame.auroc(y, s),
        "ap_step": frame.ap_step(y, s),
        "ap_trapezoid": frame.ap_trapezoid(y, s),
        "eer": frame.eer(y, s),
        "auroc_abnormal_videos": frame.auroc(y[abnormal], s[abnormal]),
        "ap_abnormal_videos": frame.ap_step(y[abnormal], s[abnormal]),
        **{
            f"macro_auroc_{c}": frame.macro_auroc(labels(benchmark), per_video(scores), c)
            for c in ("skip", "pad", "one")
        },
    }
    assert {name: found[name].value for name in expected} == expected
    smoothed = np.concatenate([[v[max(0, t - 5) : t + 6].mean() for t in range(len(v))] for v in per_video(scores)])
    assert found["micro_auroc_smoothed"].value == pytest.approx(frame.auroc(y, smoothed), abs=1e-12)
    assert set(found) == {name + suffix for name in FRAME_METRICS for suffix in ("", "_smoothed")}


def test_the_papers_chain_is_a_variant_with_its_leaks():
    benchmark = toy()
    chain = [{"moving_average": {"taps": 10, "padding": "zero", "across_clips": True}}]
    scores = frame_scores_file(benchmark, chain=chain)
    metrics = evaluate(scores, benchmark, draws=0)
    smoothed = np.convolve(scores.score, np.full(10, 0.1), "same")
    expected = frame.auroc(np.concatenate(labels(benchmark)), smoothed)
    assert metrics.metrics["micro_auroc_paper"].value == pytest.approx(expected, abs=1e-12)
    assert metrics.chain["steps"] == chain and len(metrics.chain["leaks"]) == 3
    assert metrics.constant["micro_auroc_paper"] != 0.5


def test_a_constant_score_stands_beside_every_figure():
    benchmark = toy()
    scores = frame_scores_file(benchmark, chain=[{"gaussian": {"taps": 49, "sigma": 20, "padding": "repeat"}}])
    metrics = evaluate(scores, benchmark, draws=0)
    assert set(metrics.constant) == set(metrics.metrics)
    for name, value in metrics.constant.items():
        if name.startswith(("micro_auroc", "auroc", "eer", "macro_auroc_skip")):
            assert value == 0.5
    assert metrics.constant["ap_step"] == pytest.approx(30 / sum(len(y) for y in labels(benchmark)))


def test_a_constant_score_of_objects_is_constant_in_frames_without_a_box_too():
    """Where boxes are is no part of the chain: it must not look like a leak."""
    benchmark, scores = boxed()
    chain = [{"paint": {"scale": 2}}, {"mean3d": {"size": 3}}]
    scores = replace(scores, header={**scores.header, "chain": chain})
    assert evaluate(scores, benchmark, draws=0).constant["micro_auroc_paper"] == 0.5


def test_intervals_hold_the_figure_and_follow_the_seed():
    benchmark = toy(videos=10)
    scores = frame_scores_file(benchmark)
    metrics = evaluate(scores, benchmark, draws=300)
    for name in FRAME_METRICS:
        value, low, high = metrics.metrics[name]
        assert low < high and low - 0.02 <= value <= high + 0.02
    assert evaluate(scores, benchmark, draws=300) == metrics
    assert evaluate(scores, benchmark, draws=300, seed=1) != metrics


def test_weak_sets_are_drawn_by_label():
    """One abnormal video among many: without strata some draws would hold none."""
    known = toy(videos=8)
    for index, video in enumerate(known.videos("test")):
        if index != 3:
            known.known[video.id] = Truth(np.zeros(video.frames, np.uint8))
    known.by_split["test"] = [replace(video, label=int(i == 3)) for i, video in enumerate(known.videos("test"))]
    scores = frame_scores_file(known)
    assert evaluate(scores, known, draws=200).counts["draws_of_one_class"] > 0
    assert evaluate(scores, known, draws=200, protocol="weak").counts["draws_of_one_class"] == 0


def test_one_video_has_no_interval():
    metrics = evaluate(frame_scores_file(benchmark := toy(videos=2)), benchmark, draws=50)
    assert metrics.metrics["micro_auroc"].low is not None
    single = ToyTruth([(benchmark.videos("test")[1], benchmark.truth(benchmark.videos("test")[1]))])
    assert evaluate(frame_scores_file(single), single, draws=50).metrics["micro_auroc"].low is None


def test_scenes_groups_and_kinds():
    benchmark = toy(videos=4)
    videos = [replace(video, scene=f"s{i // 2}") for i, video in enumerate(benchmark.videos("test"))]
    benchmark.by_split["test"] = videos
    for index, video in enumerate(videos):
        y = benchmark.known[video.id].frames
        groups = (np.arange(len(y)) >= 15).astype(np.int16) + 2 * (index // 2)
        kinds = {"run": (y * (np.arange(len(y)) < 14)).astype(np.uint8)} if index == 1 else {"fight": y}
        benchmark.known[video.id] = Truth(y, groups=groups, kinds=kinds)
    scores = frame_scores_file(benchmark)
    metrics = evaluate(scores, benchmark, draws=100)
    y, s = np.concatenate(labels(benchmark)), scores.score
    group = np.concatenate([benchmark.known[v.id].groups for v in videos])
    half = len(y[: sum(v.frames for v in videos[:2])])
    scene = [frame.auroc(y[:half], s[:half]), frame.auroc(y[half:], s[half:])]
    assert metrics.metrics["scene_macro_auroc"].value == pytest.approx(np.mean(scene), abs=1e-15)
    each = [frame.auroc(y[group == g], s[group == g]) for g in range(4)]
    assert metrics.metrics["group_macro_auroc"].value == pytest.approx(np.mean(each), abs=1e-15)
    assert metrics.counts["groups"] == 4
    run = np.concatenate([benchmark.known[v.id].kinds.get("run", np.zeros(v.frames)) for v in videos]) == 1
    chosen = (y == 0) | run
    assert metrics.metrics["micro_auroc[run]"].value == frame.auroc(y[chosen], s[chosen])
    assert "micro_auroc[fight]" in metrics.metrics and "micro_auroc_smoothed[run]" not in metrics.metrics
    assert metrics.metrics["macro_auroc_skip"].low is None  # videos are not what is drawn
    assert metrics.metrics["group_macro_auroc"].low is not None


def test_false_alarms_are_counted_in_normal_videos_of_scores_that_are_logits():
    benchmark = toy()
    scores = frame_scores_file(benchmark, range="logit")
    metrics = evaluate(scores, benchmark, draws=50).metrics
    normal = np.concatenate([s for i, s in enumerate(per_video(scores)) if i % 2 == 0])
    assert metrics["far_at_0.5"].value == pytest.approx((normal >= 0).mean())
    assert metrics["far_at_0.5"].low < metrics["far_at_0.5"].value < metrics["far_at_0.5"].high
    assert "far_at_0.5" not in evaluate(frame_scores_file(benchmark), benchmark, draws=0).metrics


def test_misses_and_mean_probabilities_say_which_way_a_score_leans():
    benchmark = toy()
    scores = frame_scores_file(benchmark, range="logit")
    metrics = evaluate(scores, benchmark, draws=50).metrics
    abnormal, score = np.concatenate(labels(benchmark)) == 1, scores.score
    probability = 1 / (1 + np.exp(-score))
    expected = {
        "miss_at_0.5": (score[abnormal] < 0).mean(),
        "mean_normal": probability[~abnormal].mean(),
        "mean_abnormal": probability[abnormal].mean(),
    }
    for name, value in expected.items():
        assert metrics[name].value == pytest.approx(value)
        assert metrics[name].low < value < metrics[name].high
        assert name + "_smoothed" in metrics
    assert not expected.keys() & evaluate(frame_scores_file(benchmark), benchmark, draws=0).metrics.keys()
    huge = evaluate(replace(scores, score=1e4 * np.sign(score)), benchmark, draws=0).metrics
    assert huge["mean_abnormal"].value == pytest.approx(1 - huge["miss_at_0.5"].value)


def test_merged_figures_add_training_frames_as_normal_and_the_others_do_not_see_them():
    benchmark = toy()
    scores = frame_scores_file(benchmark, "train", "test", protocol="unsupervised_merge")
    metrics = evaluate(scores, benchmark, draws=50)
    n = 3 * 40
    y = np.concatenate([np.zeros(n, int), *labels(benchmark)])
    assert metrics.metrics["merge_all_micro_auroc"].value == frame.auroc(y, scores.score)
    assert metrics.metrics["micro_auroc"].value == frame.auroc(y[n:], scores.score[n:])
    assert metrics.metrics["merge_all_micro_auroc"].low is not None
    assert metrics.counts["training_frames"] == n
    with pytest.raises(ScoresError, match="train video"):
        evaluate(scores, benchmark, protocol="unsupervised_partial")


def test_the_order_of_videos_in_the_file_does_not_count():
    benchmark = toy()
    scores = frame_scores_file(benchmark, chain=[{"moving_average": {"taps": 10, "across_clips": True}}])
    turned = Record(
        scores.record.videos[::-1],
        np.cumsum([0, *(v.frames for v in scores.record.videos[::-1])]),
        frame=np.concatenate([np.arange(v.frames, dtype=np.int32) for v in scores.record.videos[::-1]]),
    )
    backwards = replace(scores, record=turned, score=np.concatenate(per_video(scores)[::-1]))
    assert evaluate(backwards, benchmark, draws=20) == evaluate(scores, benchmark, draws=20)


def test_boxes_give_region_and_track_criteria():
    """T5: a video without a track counts with its frames."""
    benchmark, scores = boxed()
    metrics = evaluate(scores, benchmark, draws=0)
    assert metrics.metrics["rbdc"].value == pytest.approx(7 / 9, abs=1e-15)
    assert metrics.metrics["tbdc"].value == pytest.approx(5 / 6, abs=1e-15)
    assert metrics.counts["boxes"] == 5 and metrics.counts["frames_without_box"] == 1
    assert metrics.metrics["micro_auroc"].value == frame.auroc(
        np.array([1, 1, 1, 0, 0, 0]), np.array([0.8, 0.7, 0.5, 0.9, 0.6, -1.0])
    )


def test_criteria_are_drawn_by_video():
    """Drawn twice, the video with the track has no false positive; drawn once each, they are the worked case."""
    benchmark, scores = boxed()
    found = evaluate(scores, benchmark, draws=200).metrics
    assert found["rbdc"][1:] == pytest.approx((7 / 9, 1.0))
    assert found["tbdc"][1:] == pytest.approx((5 / 6, 1.0))


def test_derived_tracks_have_names_of_their_own():
    benchmark, scores = boxed(derived=True)
    found = evaluate(scores, benchmark, draws=20).metrics
    assert {"rbdc_derived", "tbdc_derived"} <= set(found) and "rbdc" not in found


def test_an_abnormal_video_without_regions_leaves_the_criteria_out():
    benchmark, scores = boxed()
    benchmark.known["b"] = Truth(np.ones(3, np.uint8))
    assert "rbdc" not in evaluate(scores, benchmark, draws=0).metrics


def test_masks_give_pixel_auroc_over_the_videos_that_have_them():
    benchmark, scores = boxed()
    mask = np.zeros((20, 20), dtype=bool)
    mask[:10, :20] = True  # the box covers half of it: enough
    benchmark.known["a"] = replace(benchmark.known["a"], masks=lambda frame: mask if frame < 2 else ~mask)
    found = evaluate(scores, benchmark, draws=0).metrics["pixel_auroc"].value
    assert found == frame.auroc(np.array([1, 1, 1, 0, 0, 0]), np.array([0.8, 0.7, -np.inf, 0.9, 0.6, -np.inf]))
    unmasked = Video("c", "test", frames=3)
    benchmark.by_split["test"].append(unmasked)
    benchmark.known["c"] = Truth(np.ones(3, np.uint8))
    more = Record(
        (*scores.record.videos, ScoredVideo("c", "test", 3)),
        np.append(scores.record.offsets, 5),
        frame=scores.record.frame,
        box=scores.record.box,
    )
    assert evaluate(replace(scores, record=more), benchmark, draws=0).metrics["pixel_auroc"].value == found


def test_grids_cut_or_extend_scores_and_truth():
    benchmark = toy()  # 40 to 45 frames
    scores = frame_scores_file(benchmark)
    for grid, length in (("floor16", 32), ("ceil16", 48)):
        metrics = evaluate(scores, benchmark, grid=grid, draws=0)
        y = np.concatenate([np.r_[v, np.repeat(v[-1], 48)][:length] for v in labels(benchmark)])
        s = np.concatenate([np.r_[v, np.repeat(v[-1], 48)][:length] for v in per_video(scores)])
        assert metrics.counts["frames"] == 6 * length and metrics.grid == grid
        assert metrics.metrics["micro_auroc"].value == frame.auroc(y, s)
    with pytest.raises(DataError, match="official"):
        evaluate(scores, benchmark, grid="official")


def test_scores_of_the_grids_length_are_taken_on_that_grid_alone():
    benchmark = toy()
    videos = benchmark.videos("test")
    record = Record(
        tuple(ScoredVideo(v.id, "test", 32) for v in videos),
        np.arange(7) * 32,
        frame=np.tile(np.arange(32, dtype=np.int32), 6),
    )
    scores = Scores(record, np.arange(192.0), header=header())
    assert evaluate(scores, benchmark, grid="floor16", draws=0).counts["frames"] == 192
    with pytest.raises(ScoresError, match=r"scores of 32 frames, but 40 frames in ToyTruth$"):
        evaluate(scores, benchmark, draws=0)


def test_smoothing_crosses_no_cut_of_a_video():
    """A short abnormal clip between normal ones: a mean over the cuts would make its neighbours as abnormal."""
    frames = np.repeat([0, 1, 0], [20, 4, 20]).astype(np.uint8)
    for cuts, perfect in (((20, 24), True), ((), False)):
        benchmark = ToyTruth([(Video("a", "test", frames=44, cuts=cuts), Truth(frames))])
        scores = Scores(frames_of(benchmark), frames.astype(float), header=header())
        assert (evaluate(scores, benchmark, draws=0).metrics["micro_auroc_smoothed"].value == 1.0) == perfect


def test_infinite_scores_keep_their_rank_and_are_counted():
    benchmark = toy()
    scores = frame_scores_file(benchmark)
    scores.score[0], scores.score[1] = -np.inf, np.inf
    metrics = evaluate(scores, benchmark, draws=20)
    assert metrics.counts["infinite_scores"] == 2
    assert metrics.metrics["micro_auroc"].value == frame.auroc(np.concatenate(labels(benchmark)), scores.score)
    json.dumps(metrics.to_json(), allow_nan=False)


def without(scores, id):
    """The scores without one video."""
    keep = [i for i, video in enumerate(scores.record.videos) if video.id != id]
    lengths = [scores.record.videos[i].frames for i in keep]
    record = Record(
        tuple(scores.record.videos[i] for i in keep),
        np.cumsum([0, *lengths]),
        frame=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    )
    return replace(scores, record=record, score=np.concatenate([per_video(scores)[i] for i in keep]))


def test_missing_videos_are_refused_unless_the_header_says_that_they_were_skipped():
    benchmark = toy()
    scores = without(frame_scores_file(benchmark), "t#1=a.b/c")
    with pytest.raises(ScoresError, match=r"1 of 6 test videos of ToyTruth have no scores, first t#1=a\.b/c"):
        evaluate(scores, benchmark)
    skipped = replace(scores, header={**scores.header, "skipped": ["t#1=a.b/c"]})
    assert evaluate(skipped, benchmark, draws=0).counts["skipped_videos"] == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"protocol": None}, ScoresError, "--protocol"),
        ({"protocol": "pretext"}, ScoresError, "scores no videos"),
        ({"protocol": "magic"}, ConfigError, "protocol"),
        ({"benchmark": "UCSDPed1"}, ScoresError, "scores of UCSDPed1, not of ToyTruth"),
        ({"chain": [{"blur": {}}]}, ConfigError, "no step 'blur'"),
        ({"chain": {"blur": {}}}, ConfigError, "list of steps"),
        ({"skipped": "t"}, ScoresError, "list of video ids"),
    ],
)
def test_headers_that_do_not_fit_are_refused(change, error, message):
    with pytest.raises(error, match=message) as raised:
        scores = frame_scores_file(toy())
        evaluate(replace(scores, header={**scores.header, **change}), toy())
    assert "\n" not in str(raised.value)


def test_unknown_videos_other_lengths_nan_and_other_labels_are_refused():
    scores = frame_scores_file(toy())
    with pytest.raises(ScoresError, match=r"no test video t#5=a\.b/c"):
        evaluate(scores, toy(videos=5))
    with pytest.raises(ScoresError, match="has scores of 40 frames, but 41"):
        evaluate(scores, toy(length=41))
    with pytest.raises(ScoresError, match="NaN"):
        evaluate(replace(scores, score=np.full(len(scores.score), np.nan)), toy())
    labelled = toy()
    labelled.known["t#1=a.b/c"] = Truth(labelled.known["t#1=a.b/c"].frames * 2)
    with pytest.raises(ScoresError, match="labels other than 0 and 1"):
        evaluate(scores, labelled)


def test_objects_without_a_floor_are_refused():
    benchmark, scores = boxed()
    with pytest.raises(ScoresError, match="floor"):
        evaluate(replace(scores, header=header()), benchmark)


def test_metrics_are_strict_json_and_come_back_equal():
    benchmark, scores = boxed()
    for metrics in (evaluate(scores, benchmark, draws=30), evaluate(frame_scores_file(toy()), toy(), draws=0)):
        text = json.dumps(metrics.to_json(), allow_nan=False)
        assert Metrics.from_json(json.loads(text)) == metrics


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"micro_auroc": {"value": None, "low": None, "high": None}}},
        {"metrics": {"micro_auroc": {"value": 0.5}}},
        {"metrics": []},
        {"grid": "other"},
        {"headline": 3},
        {"constant": {"micro_auroc": float("nan")}},
    ],
)
def test_what_is_no_metrics_file_is_refused(change):
    value = evaluate(frame_scores_file(toy()), toy(), draws=0).to_json()
    with pytest.raises((KeyError, TypeError, ValueError)):
        Metrics.from_json(value | change)


def test_differences_of_two_methods_use_the_same_draws():
    """Two methods that differ by a little noise: the difference is known better than either figure."""
    benchmark = toy(videos=12)
    first = frame_scores_file(benchmark, seed=1)
    second = replace(first, score=first.score + np.random.default_rng(2).normal(0, 0.05, len(first.score)))
    difference = paired_difference(*([Evaluated(s, benchmark, draws=300)] for s in (first, second)))["micro_auroc"]
    alone = evaluate(first, benchmark, draws=300).metrics["micro_auroc"]
    other = evaluate(second, benchmark, draws=300).metrics["micro_auroc"]
    assert difference.value == alone.value - other.value
    assert difference.low <= difference.value <= difference.high
    assert difference.high - difference.low < (alone.high - alone.low) / 2
    itself = paired_difference(*[[Evaluated(first, benchmark, draws=50)]] * 2)
    assert set(itself.values()) == {(0.0, 0.0, 0.0)}


def test_differences_need_the_same_videos_and_protocol():
    benchmark = toy()
    scores = frame_scores_file(benchmark)
    with pytest.raises(ScoresError, match="protocols"):
        paired_difference(
            *([Evaluated(s, benchmark, draws=2)] for s in (scores, frame_scores_file(benchmark, protocol="weak")))
        )
    fewer = without(scores, "t#1=a.b/c")
    fewer = replace(fewer, header={**fewer.header, "skipped": ["t#1=a.b/c"]})
    with pytest.raises(ScoresError, match="different videos"):
        paired_difference(*([Evaluated(s, benchmark, draws=2)] for s in (scores, fewer)))


def test_a_difference_between_methods_of_several_seeds_covers_the_seeds_too():
    benchmark = toy(videos=12)
    scores = frame_scores_file(benchmark, seed=1)

    def seeds(noise: float, first: int) -> list[Evaluated]:
        random = [np.random.default_rng(first + number) for number in range(3)]
        noisy = [replace(scores, score=scores.score + r.normal(0, noise, len(scores.score))) for r in random]
        return [Evaluated(s, benchmark, draws=300) for s in noisy]

    ours, theirs = seeds(0.5, 10), seeds(0.5, 20)
    found = paired_difference(ours, theirs)["micro_auroc"]
    means = [np.mean([e.figures["micro_auroc"].value for e in side]) for side in (ours, theirs)]
    assert found.value == pytest.approx(means[0] - means[1])
    assert found.low <= found.value <= found.high
    mean_draw = [np.mean([e.figures["micro_auroc"].samples for e in side], 0) for side in (ours, theirs)]
    videos_alone = np.nanpercentile(mean_draw[0] - mean_draw[1], [2.5, 97.5])
    assert found.high - found.low > 1.1 * (videos_alone[1] - videos_alone[0])


@pytest.mark.parametrize(
    ("name", "grid", "frames", "abnormal", "expected"),
    [
        ("UCFCrime", "frames", 1_111_808, 84_182, (0.81573, 0.18186, 0.59093)),
        ("UCFCrime", "floor16", 1_109_824, 84_160, (0.81582, 0.18218, 0.59109)),
        ("UCFCrime", "official", 1_109_680, 84_128, (0.81584, 0.18215, 0.59108)),
        ("XDViolence", None, 2_330_384, 537_805, (0.84932, 0.49888, 0.74944)),
        ("ShanghaiTechWeak", "frames", 141_870, 7_962, (0.96449, 0.45570, 0.72785)),
        ("ShanghaiTechWeak", "official", 142_912, 8_028, (0.96315, 0.44679, 0.72340)),
    ],
)
def test_the_video_level_oracle(real_data, name, grid, frames, abnormal, expected):
    import vad.benchmarks

    benchmark = getattr(vad.benchmarks, name)()
    videos = benchmark.videos("test")
    lengths = [len(benchmark.truth(video).frames) for video in videos]
    record = Record(
        tuple(ScoredVideo(v.id, "test", n) for v, n in zip(videos, lengths, strict=True)),
        np.cumsum([0, *lengths], dtype=np.int64),
        frame=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    )
    score = np.repeat([float(video.label) for video in videos], lengths)
    oracle = Scores(record, score, header=header(benchmark=name, protocol="weak"))
    metrics = evaluate(oracle, benchmark, grid=grid, draws=0)
    assert (metrics.counts["frames"], metrics.counts["abnormal_frames"]) == (frames, abnormal)
    got = [metrics.metrics[n].value for n in ("micro_auroc", "ap_step", "ap_trapezoid")]
    assert got == pytest.approx(expected, abs=5.1e-6)
    assert metrics.metrics["auroc_abnormal_videos"].value == 0.5
    assert metrics.constant["micro_auroc"] == 0.5
