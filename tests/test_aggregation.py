"""From scores of objects and snippets to scores of frames, and the chains of the papers."""

import numpy as np
import pytest

from vad.aggregation import HeadStatistics, apply_chain, check_chain, frame_scores, fuse, leaks, lowest, smooth
from vad.aggregation.chain import STEPS
from vad.errors import ConfigError, ScoresError
from vad.types import Record, ScoredVideo


def objects(lengths, rows):
    """A record from (video, frame, box) rows, videos ascending."""
    count = np.bincount([row[0] for row in rows], minlength=len(lengths))
    return Record(
        videos=tuple(ScoredVideo(f"v{i}", "test", n) for i, n in enumerate(lengths)),
        offsets=np.cumsum([0, *count], dtype=np.int64),
        frame=np.array([row[1] for row in rows], dtype=np.int32),
        box=np.array([row[2] for row in rows], dtype=np.float32).reshape(-1, 4),
    )


def frames_record(*lengths):
    return Record(
        videos=tuple(ScoredVideo(f"v{i}", "test", n) for i, n in enumerate(lengths)),
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        frame=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    )


def snippets(lengths, rows):
    count = np.bincount([row[0] for row in rows], minlength=len(lengths))
    return Record(
        videos=tuple(ScoredVideo(f"v{i}", "test", n) for i, n in enumerate(lengths)),
        offsets=np.cumsum([0, *count], dtype=np.int64),
        first=np.array([row[1] for row in rows], dtype=np.int32),
        end=np.array([row[2] for row in rows], dtype=np.int32),
    )


BOX = (0, 0, 4, 4)
TWO_GROUPS = {"a": [HeadStatistics(9, 1.0, 2.0, -1.0), HeadStatistics(9, 0.0, 1.0, -2.0)]}


def test_fusion_by_zscore_uses_the_statistics_of_the_group():
    got = fuse({"a": np.array([3, 3], np.float32)}, TWO_GROUPS, kind="zscore", group=np.array([0, 1]))
    assert got.tolist() == [1.0, 3.0] and got.dtype == np.float64


def test_fusion_clips_before_it_weighs():
    statistics = {"a": [HeadStatistics(9, 0.0, 1.0, 0.0)], "b": [HeadStatistics(9, 0.0, 2.0, 0.0)]}
    columns = {"a": np.array([-5.0, 2.0]), "b": np.array([4.0, 4.0])}
    got = fuse(columns, statistics, kind="zscore", weights={"a": 1, "b": 0.5}, clip=0.0)
    assert got.tolist() == [1.0, 3.0]


def test_fusion_by_mean_weighs_and_single_takes_the_one_head():
    columns = {"a": np.array([1.0]), "b": np.array([4.0])}
    assert fuse(columns, None, kind="mean").tolist() == [2.5]
    assert fuse(columns, None, kind="mean", weights={"a": 2, "b": 1}).tolist() == [2.0]
    assert fuse({"a": np.array([1.0])}, None, kind="single").tolist() == [1.0]


def test_a_head_that_did_not_vary_is_only_centred_and_an_untrained_group_is_most_abnormal():
    statistics = {"a": [HeadStatistics(3, 1.0, 0.0, 1.0), HeadStatistics(0, 0.0, 0.0, 0.0)]}
    got = fuse({"a": np.array([1.0, 1.5, -9.0])}, statistics, kind="zscore", group=np.array([0, 0, 1]))
    assert got.tolist() == [0.0, 0.5, 20.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "single"}, "one head"),
        ({"kind": "zscore"}, "needs the statistics"),
        ({"kind": "best"}, "expected one of"),
        ({"kind": "mean", "weights": {"a": 1}}, "the heads are a, b"),
        ({"kind": "mean", "weights": {"a": -1, "b": 1}}, "not negative"),
        ({"kind": "mean", "weights": {"a": 0, "b": 0}}, "not all zero"),
    ],
)
def test_fusion_refuses_what_does_not_fit(options, message):
    with pytest.raises(ScoresError, match=message):
        fuse({"a": np.zeros(2), "b": np.zeros(2)}, None, **options)


def test_fusion_refuses_groups_without_statistics():
    with pytest.raises(ScoresError, match="2 groups"):
        fuse({"a": np.zeros(1)}, TWO_GROUPS, kind="zscore", group=np.array([2]))


def test_no_training_sample_lies_below_the_lowest_score():
    generator = np.random.default_rng(0)
    for kind in ("mean", "zscore"):
        columns = {name: generator.normal(size=50) for name in ("a", "b")}
        statistics = {n: [HeadStatistics(50, c.mean(), c.std(), c.min())] for n, c in columns.items()}
        options = {"kind": kind, "weights": {"a": 0.3, "b": 1.0}}
        assert lowest(statistics, **options) <= fuse(columns, statistics, **options).min()


def test_frame_score_is_the_maximum_over_boxes_and_the_floor_without_one():
    record = objects([3, 2], [(0, 0, BOX), (0, 2, BOX), (0, 2, BOX), (1, 1, BOX)])
    got = frame_scores(record, np.array([-9.0, 1.0, 3.0, 5.0]), floor=-2.0)
    assert [video.tolist() for video in got] == [[-9.0, -2.0, 3.0], [-2.0, 5.0]]  # a box may score below the floor


def test_objects_without_a_floor_are_refused():
    with pytest.raises(ScoresError, match="no floor"):
        frame_scores(objects([2], [(0, 0, BOX)]), np.zeros(1), floor=None)


def test_snippets_cover_their_frames_and_the_last_one_is_repeated():
    record = snippets([40, 16], [(0, 0, 16), (0, 16, 32), (1, 0, 16)])
    got = frame_scores(record, np.array([1.0, 2.0, 3.0]), floor=None)
    assert got[0].tolist() == [1.0] * 16 + [2.0] * 24
    assert got[1].tolist() == [3.0] * 16


def test_snippets_that_overlap_are_averaged_and_cut_at_the_end_in_any_order():
    record = snippets([6], [(0, 2, 9), (0, 0, 4)])
    assert frame_scores(record, np.array([3.0, 1.0]), floor=None)[0].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_gap_between_snippets_or_frames_is_refused():
    with pytest.raises(ScoresError, match=r"v0: no snippet covers all of its frames \(first at frame 2\)"):
        frame_scores(snippets([6], [(0, 0, 2), (0, 3, 6)]), np.zeros(2), floor=None)
    with pytest.raises(ScoresError, match="v1"):
        frame_scores(snippets([2, 2], [(0, 0, 2)]), np.zeros(1), floor=None)
    record = frames_record(3)
    twice = Record(record.videos, record.offsets, frame=np.array([0, 1, 1], np.int32))
    with pytest.raises(ScoresError, match="every frame once"):
        frame_scores(twice, np.zeros(3), floor=None)


def test_smoothing_averages_the_frames_that_exist():
    video = np.random.default_rng(0).normal(size=30)
    expected = [video[max(0, t - 5) : t + 6].mean() for t in range(30)]
    assert smooth([video])[0] == pytest.approx(expected, abs=1e-12)
    assert smooth([video[:3]])[0] == pytest.approx([video[:3].mean()] * 3, abs=1e-12)
    assert smooth([np.zeros(0)])[0].shape == (0,)


def test_smoothing_crosses_no_cut():
    video = np.r_[np.zeros(20), np.ones(20)]
    assert (smooth([video], cuts=[(20,)])[0] == video).all()
    assert (smooth([video], cuts=[()])[0] != video).any()


@pytest.mark.parametrize("value", [0.1, -3.7, 1 / 3, 1e9 + 0.1])
def test_smoothing_keeps_equal_scores_equal(value):
    """Also at the ends, where fewer frames exist: rounding must not break ties by position."""
    assert (smooth([np.full(50, value)])[0] == value).all()


# ---------------------------------------------------------------------------------------------------- chains


def test_lbr_chain_is_ten_equal_weights_across_clips_with_zeros_beyond():
    """output n = mean of inputs n-5 .. n+4, over all clips behind one another; a frame without a box has -20."""
    record = objects([12, 9], [(0, f, BOX) for f in range(12)] + [(1, f, BOX) for f in range(1, 9)])
    score = np.random.default_rng(0).normal(size=20)
    chain = [{"fill": {"value": -20}}, {"moving_average": {"taps": 10, "padding": "zero", "across_clips": True}}]
    got = np.concatenate(apply_chain(chain, record, score))
    joined = np.r_[score[:12], -20, score[12:]]
    padded = np.r_[np.zeros(5), joined, np.zeros(4)]
    assert got == pytest.approx([padded[n : n + 10].mean() for n in range(21)], abs=1e-12)
    assert got == pytest.approx(np.convolve(joined, np.full(10, 0.1), "same"), abs=1e-12)


def slow_ssmtl(record, score, video, size, scale, kernel, normal=0.0, margin=12):
    """Map of the whole picture with a wide margin, mean over cubes, maximum, weighted sum in time."""
    n = record.videos[video].frames
    volume = np.full((n, 40, 40), normal)
    for row in range(record.offsets[video], record.offsets[video + 1]):
        x1, y1, x2, y2 = np.round(record.box[row] / scale).astype(int) + margin
        region = volume[record.frame[row], y1 : y2 + 1, x1 : x2 + 1]
        np.maximum(region, score[row], out=region)
    half = size // 2
    in_time = np.stack([volume[np.clip(np.arange(t - half, t + half + 1), 0, n - 1)].mean(axis=0) for t in range(n)])
    padded = np.pad(in_time, ((0, 0), (half, half), (half, half)), constant_values=normal)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    frame = windows.mean(axis=(3, 4)).reshape(n, -1).max(axis=1)
    k = len(kernel)
    extended = np.r_[frame[: k // 2], frame, frame[-(k // 2) :]]
    return np.array([(extended[t : t + k] * kernel).sum() for t in range(n)])


def test_ssmtl_chain_paints_averages_and_smooths():
    generator = np.random.default_rng(1)
    rows = []
    for video, frame in [(v, f) for v in (0, 1) for f in range(12)]:
        for _ in range(generator.integers(0, 3)):
            corner = generator.integers(0, 20, 2)
            rows.append((video, frame, (*corner, *(corner + generator.integers(2, 12, 2)))))
    record, score = objects([12, 12], rows), generator.random(len(rows))
    kernel = np.exp(-0.5 * ((np.arange(1, 8) - 3) / 2.0) ** 2) / (2.0 * np.sqrt(2 * np.pi))  # centred one tap early
    chain = [
        {"paint": {"scale": 2}},
        {"mean3d": {"size": 5}},
        {"gaussian": {"taps": 7, "sigma": 2.0, "padding": "repeat", "as_published": True}},
    ]
    got = apply_chain(chain, record, score)
    for video in (0, 1):
        assert got[video] == pytest.approx(slow_ssmtl(record, score, video, 5, 2, kernel), abs=1e-6)


def test_painting_alone_needs_no_map():
    record = objects([3], [(0, 0, BOX), (0, 1, BOX)])
    assert apply_chain([{"paint": {"normal": 0.5}}], record, np.array([0.2, 0.9]))[0].tolist() == [0.5, 0.9, 0.5]


def test_a_video_without_boxes_stays_normal():
    record = objects([3, 4], [(0, 0, BOX)])
    assert apply_chain([{"paint": {}}, {"mean3d": {}}], record, np.ones(1))[1].tolist() == [0.0] * 4


def test_the_gaussian_is_centred_and_normalised_unless_as_published():
    impulse = np.zeros(41)
    impulse[20] = 1
    kernel = {"taps": 9, "sigma": 2.0, "padding": "zero"}
    (ours,) = STEPS["gaussian"]([impulse], **kernel)
    (published,) = STEPS["gaussian"]([impulse], **kernel, as_published=True)
    assert np.argmax(ours) == 20 and ours.sum() == pytest.approx(1.0)
    assert np.argmax(published) == 21 and published.sum() < 0.99  # delayed by a frame, truncated


@pytest.mark.parametrize("padding", ["nearest", "reflect", "repeat"])
@pytest.mark.parametrize("step", ["moving_average", "gaussian"])
def test_a_constant_score_stays_constant_unless_zeros_are_padded(padding, step):
    arguments = {"taps": 49, "padding": padding, **({"sigma": 20} if step == "gaussian" else {})}
    videos = [np.full(n, 0.3) for n in (7, 30, 200)]  # also videos shorter than the kernel
    assert len(np.unique(np.concatenate(STEPS[step](videos, **arguments)))) == 1
    zeros = STEPS[step](videos, **{**arguments, "padding": "zero"})
    assert len(np.unique(np.concatenate(zeros))) > 1


def test_median_minmax_and_zscore():
    video = np.array([1.0, 9.0, 2.0, 3.0])
    assert STEPS["median"]([video], taps=3)[0].tolist() == [1, 2, 3, 2]
    assert STEPS["minmax"]([video, np.full(2, 5.0)])[0].tolist() == [0, 1, 1 / 8, 2 / 8]
    assert STEPS["minmax"]([video, np.full(2, 5.0)])[1].tolist() == [0, 0]
    assert STEPS["minmax"]([video, np.full(2, 5.0)], per="all")[1].tolist() == [0.5, 0.5]
    assert STEPS["zscore"]([video, np.full(2, 5.0)])[0] == pytest.approx((video - video.mean()) / video.std())
    assert STEPS["zscore"]([video, np.full(2, 5.0)])[1].tolist() == [0, 0]


def test_leaks_are_named():
    chain = [
        {"fill": {"value": -20}},
        {"moving_average": {"taps": 10, "across_clips": True}},
        {"minmax": {}},
        {"gaussian": {"taps": 5, "sigma": 1, "padding": "reflect"}},
    ]
    assert leaks(chain) == [
        "moving_average: future frames",
        "moving_average: zero padding, which lowers the ends of a data set",
        "moving_average: crosses clips",
        "minmax: per-video normalisation",
        "gaussian: future frames",
    ]
    assert leaks([{"fill": {"value": -20}}]) == []


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ([{"blur": {}}], "there is no step 'blur'"),
        ([{"fill": {}}], "step fill: missing a required argument: 'value'"),
        ([{"fill": {"value": 1}, "paint": {}}], "a mapping of one key"),
        (["fill"], "a mapping of one key"),
        ([{"fill": 3}], "must be a mapping"),
        ([{"fill": {"value": 1, "frames": 2}}], "unexpected keyword"),
        ([{"mean3d": {}}], "must follow paint"),
        ([{"fill": {"value": 0}}, {"paint": {}}], "must be the first step"),
        ([{"paint": {"scale": 0}}], "must be 0.01 or more"),
        ([{"gaussian": {"taps": 5, "sigma": 1, "padding": "wrap"}}], "padding must be one of"),
        ([{"minmax": {"per": "scene"}}], "per must be video or all"),
    ],
)
def test_chains_that_do_not_exist_are_refused(chain, message):
    with pytest.raises(ConfigError, match=message):
        apply_chain(chain, objects([3], [(0, 0, BOX)]), np.ones(1), floor=0.0)


@pytest.mark.parametrize(
    ("taps", "sigma", "expected"),
    [(301, 21, 0.702), (37, 11, 0.560), (899, 282, 0.503)],
)
def test_zero_padding_leaks_the_position_on_shanghaitech(real_data, taps, sigma, expected):
    """A constant score through the published kernels: the middle of a video looks abnormal."""
    from vad.metrics.frame import auroc

    folder = real_data / "annotations" / "shanghaitech" / "testing" / "test_frame_mask"
    labels = [np.load(file, allow_pickle=False) for file in sorted(folder.glob("*.npy"))]
    record = frames_record(*map(len, labels))
    chain = [{"gaussian": {"taps": taps, "sigma": sigma, "padding": "zero", "as_published": True}}]
    scores = apply_chain(chain, record, np.ones(len(record)))
    assert auroc(np.concatenate(labels), np.concatenate(scores)) == pytest.approx(expected, abs=6e-4)
    if taps == 899:
        scores = apply_chain([*chain, {"minmax": {}}], record, np.ones(len(record)))
        assert auroc(np.concatenate(labels), np.concatenate(scores)) == pytest.approx(0.770, abs=6e-4)


CHAIN_FAULTS = [
    ([{"fill": {"value": "a"}}], "step fill cannot be run"),
    ([{"fill": {"value": float("nan")}}], "no finite score"),
    ([{"moving_average": {"taps": 0}}], "taps must be 1 to"),
    ([{"moving_average": {"taps": 10**12}}], "taps must be 1 to"),
    ([{"moving_average": {"taps": 3, "padding": "zeroo"}}], "padding must be one of"),
    ([{"gaussian": {"taps": 3, "sigma": 0}}], "gaussian|finite"),
    ([{"gaussian": {"taps": 3, "sigma": "wide"}}], "step gaussian cannot be run"),
    ([{"median": {"taps": 4}}], "for each frame"),
    ([{"paint": {"scale": 1}}, {"fill": {"value": 0}}], "fill must be the first step"),
    ([{}], "a mapping of one key"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("chain", "message"), CHAIN_FAULTS)
def test_a_chain_that_cannot_be_run_is_found_before_anything_is_trained(chain, message):
    with pytest.raises(ConfigError, match=message):
        check_chain(chain)


def test_published_chains_pass_their_trial():
    check_chain([])
    check_chain([{"fill": {"value": -20}}, {"moving_average": {"taps": 10, "padding": "zero", "across_clips": True}}])
    check_chain([{"paint": {"scale": 20}}, {"mean3d": {"size": 5}}, {"gaussian": {"taps": 49, "sigma": 20.0}}])
    check_chain([{"minmax": {"per": "video"}}, {"median": {"taps": 17}}, {"zscore": {"per": "all"}}])
