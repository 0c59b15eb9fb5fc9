"""The toy numbers of the pretext tasks, and what their draws promise."""

from collections import Counter

import numpy as np
import pytest

from vad.datamodules.pretext import SHUFFLES, TASKS, Rules, Window, draw, in_order, permuted, spliced
from vad.errors import ConfigError

RULES = Rules()
WINDOW, OTHER = Window(0, 200), Window(200, 400)


def drawn(task: str, count: int = 4000, window: Window = WINDOW, other: Window = OTHER, rules: Rules = RULES) -> list:
    random = np.random.default_rng(0)
    return [draw(task, window, other, rules, random) for _ in range(count)]  # type: ignore[arg-type]


def test_a_clip_of_speed_two_squared_holds_every_fourth_frame() -> None:
    assert in_order(10, 4, 16).tolist() == list(range(10, 71, 4))


def test_a_permuted_clip_holds_whole_blocks() -> None:
    assert permuted(in_order(10, 1, 16), (2, 0, 3, 1)).tolist() == [
        *range(18, 22),
        *range(10, 14),
        *range(22, 26),
        *range(14, 18),
    ]


def test_a_change_goes_on_contiguously_elsewhere() -> None:
    assert spliced(in_order(10, 1, 16), 6, 120, 1).tolist() == [*range(10, 16), *range(120, 130)]


def test_no_permutation_is_the_identity_or_the_reversal() -> None:
    assert len(SHUFFLES) == 22
    assert not {(0, 1, 2, 3), (3, 2, 1, 0)} & set(SHUFFLES)


@pytest.mark.parametrize("task", TASKS)
def test_classes_are_balanced_and_frames_lie_inside_the_windows(task: str) -> None:
    clips = drawn(task)
    counts = Counter(clip.target for clip in clips)
    assert set(counts) == set(range(RULES.classes(task)))  # type: ignore[arg-type]
    assert max(counts.values()) - min(counts.values()) < 0.08 * len(clips)
    for clip in clips:
        assert clip.frames.shape == (16,)
        inside = (clip.frames >= WINDOW.start) & (clip.frames < WINDOW.stop)
        assert inside.all() or (task == "change" and clip.target and (clip.frames[~inside] < OTHER.stop).all())


def test_order_tells_valid_clips_from_every_permutation() -> None:
    found = set()
    for clip in drawn("order"):
        blocks = clip.frames.reshape(4, 4)
        assert (np.diff(blocks, axis=1) == np.diff(blocks[0])[0]).all(), "blocks run forward"
        rank = tuple(np.argsort(np.argsort(blocks[:, 0])).tolist())
        assert (rank == (0, 1, 2, 3)) == bool(clip.target)
        found.add(rank)
    assert found == {(0, 1, 2, 3), *SHUFFLES}


def test_speed_is_the_step_between_frames() -> None:
    for clip in drawn("speed"):
        assert set(np.diff(clip.frames)) == {RULES.speeds[clip.target]}


def test_a_backward_clip_is_a_forward_one_reversed() -> None:
    for clip in drawn("arrow"):
        forward = clip.frames[::-1] if clip.target else clip.frames
        assert set(np.diff(forward)) in ({1}, {2})


def test_starts_and_steps_do_not_depend_on_the_class() -> None:
    for task in ("order", "arrow"):
        clips = drawn(task, 20_000)
        for value in (lambda f: f.min(), lambda f: np.ptp(f)):
            means = [np.mean([value(c.frames) for c in clips if c.target == target]) for target in (0, 1)]
            spread = np.std([value(c.frames) for c in clips]) / np.sqrt(len(clips) / 4)
            assert abs(means[0] - means[1]) < 4 * spread


def test_a_change_jumps_far_or_to_the_other_video_and_its_cut_is_anywhere() -> None:
    cuts, elsewhere, jumps = Counter(), 0, 0
    for clip in drawn("change"):
        steps = np.diff(clip.frames)
        if not clip.target:
            assert len(set(steps)) == 1
            continue
        step = int(np.median(steps))
        (cut,) = np.flatnonzero(steps != step) + 1
        cuts[int(cut)] += 1
        if clip.frames[cut] >= WINDOW.stop:
            elsewhere += 1
        else:
            jumps += 1
            assert abs(clip.frames[cut] - (clip.frames[0] + step * cut)) >= RULES.gap
    assert set(cuts) == set(range(4, 13))
    assert elsewhere == pytest.approx(jumps, rel=0.15)


def test_where_a_window_is_too_short_to_jump_every_change_goes_to_the_other_video() -> None:
    for clip in drawn("change", 500, Window(0, 31), Window(31, 62)):
        if clip.target:
            assert clip.frames[0] < 31 <= clip.frames[-1]


def test_the_shortest_windows_serve_all_but_speed() -> None:
    window, other = Window(0, 16), Window(16, 32)
    for task in ("order", "arrow", "change"):
        assert len(drawn(task, 50, window, other)) == 50
    with pytest.raises(ConfigError, match="121 frames"):
        drawn("speed", 1, window, other)
    with pytest.raises(ConfigError, match="16 frames"):
        drawn("arrow", 1, Window(0, 15), other)
