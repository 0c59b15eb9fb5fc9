"""Accuracies of pretext tasks are those of clips whose class can be told, with intervals over videos."""

from typing import Any

import numpy as np
import pytest

from vad.datamodules.pretext import TASKS, Task
from vad.errors import DataError
from vad.evaluation import Metrics
from vad.evaluation.pretext import Columns, evaluate_pretext, neighbours_share

CLASSES: dict[Task, int] = {"order": 2, "speed": 4, "arrow": 2, "change": 2}
VIDEOS, PER_TASK = 12, 20


def columns(*, right: float = 0.8, labels: bool = True, seed: int = 0) -> dict[str, np.ndarray]:
    """Clips of `VIDEOS` videos, `PER_TASK` of each task: a class is told with probability `right`.

    Abnormal videos, every second one, point elsewhere than normal ones.
    """
    random = np.random.default_rng(seed)
    video, task, _ = (grid.ravel() for grid in np.mgrid[:VIDEOS, : len(TASKS), :PER_TASK])
    classes = np.array([CLASSES[TASKS[t]] for t in task])
    target = random.integers(0, classes)
    other = (target + random.integers(1, classes)) % classes
    label = video % 2 if labels else np.full_like(video, -1)
    vector = random.normal(0, 0.3, (len(video), 6))
    vector[:, 0] += 1
    vector[:, 1] += video % 2
    return {
        "said": np.where(random.random(len(video)) < right, target, other),
        "target": target,
        "task": task,
        "video": video,
        "label": label,
        "valid": np.ones_like(video),
        "vector": vector.astype(np.float32),
    }


def evaluated(seen: Columns, learned: Columns | None = None, **more: Any) -> Metrics:
    probes = {"frozen": columns(right=0.5, seed=1)}
    learned = columns(seed=2) if learned is None else learned
    return evaluate_pretext(seen, probes, learned, method="M", benchmark="B", classes=CLASSES, **more)


def test_an_accuracy_is_that_of_the_tasks_clips_and_the_headline_their_mean() -> None:
    seen = columns()
    metrics = evaluated(seen).metrics
    right = seen["said"] == seen["target"]
    by_hand = {task: right[seen["task"] == t].mean() for t, task in enumerate(TASKS)}
    assert {task: metrics[task].value for task in TASKS} == pytest.approx(by_hand)
    assert metrics["pretext_accuracy"].value == pytest.approx(np.mean(list(by_hand.values())))


def test_intervals_are_those_of_drawing_whole_videos() -> None:
    seen = columns()
    seen["said"] = np.where(seen["video"] < 6, seen["target"], -1)  # all or nothing: videos, not clips, are the noise
    estimate = evaluated(seen, draws=4000).metrics["arrow"]
    random = np.random.default_rng(1)
    # As many of both labels as there are; three of the six videos of each are told wholly.
    shares = (random.binomial(6, 0.5, 100_000) + random.binomial(6, 0.5, 100_000)) / 12
    assert (estimate.low, estimate.high) == pytest.approx(np.percentile(shares, [2.5, 97.5]), abs=0.03)
    assert estimate.value == 0.5


def test_clips_whose_class_cannot_be_told_count_for_nothing() -> None:
    seen = columns()
    before = evaluated(seen)
    still = (seen["task"] == TASKS.index("speed")) & (np.arange(len(seen["task"])) % 2 == 0)
    seen["valid"] = (~still).astype(int)
    seen["said"] = np.where(still, -1, seen["said"])
    after = evaluated(seen)
    told = (seen["said"] == seen["target"])[(seen["task"] == TASKS.index("speed")) & ~still]
    assert after.metrics["speed"].value == told.mean()
    assert after.metrics["order"] == before.metrics["order"]
    assert after.counts["valid_share"] == {"order": 1, "speed": 0.5, "arrow": 1, "change": 1}


def test_a_task_without_a_clip_that_can_be_told_is_left_out_and_all_of_them_are_an_error() -> None:
    seen = columns()
    seen["valid"] = (seen["task"] == TASKS.index("speed")).astype(int)
    found = evaluated(seen)
    assert "order" not in found.metrics and "order" not in found.constant
    assert found.metrics["pretext_accuracy"] == found.metrics["speed"] and found.constant["pretext_accuracy"] == 0.25
    seen["valid"][:] = 0
    with pytest.raises(DataError, match="enough moves"):
        evaluated(seen)


def test_every_figure_stands_beside_what_chance_gives() -> None:
    found = evaluated(columns())
    assert found.constant.keys() == found.metrics.keys()
    assert (found.constant["speed"], found.constant["arrow_frozen"], found.constant["neighbours_auroc"]) == (
        0.25,
        0.5,
        0.5,
    )
    assert found.constant["pretext_accuracy"] == (0.5 + 0.25 + 0.5 + 0.5) / 4
    assert abs(found.metrics["order_frozen"].value - 0.5) < 0.1 < found.metrics["order"].value - 0.5


def test_neighbours_tell_abnormal_videos_where_vectors_do() -> None:
    found = evaluated(columns()).metrics["neighbours_auroc"]
    assert found.value == 1 and (found.low, found.high) == (1, 1)
    mixed = columns()
    mixed["vector"][:, 1] = np.random.default_rng(3).normal(size=len(mixed["vector"]))
    blind = evaluated(columns(), mixed).metrics["neighbours_auroc"]
    assert blind.value < 1 and blind.low is not None and blind.low < 0.9


def test_neighbours_need_both_labels_on_both_sides() -> None:
    assert "neighbours_auroc" not in evaluated(columns(labels=False)).metrics
    assert "neighbours_auroc" not in evaluated(columns(), columns(labels=False)).metrics
    normal = columns()
    normal["label"] = np.zeros_like(normal["label"])
    assert "neighbours_auroc" not in evaluated(normal).metrics


def test_neighbours_are_of_whole_clips() -> None:
    seen, learned = columns(), columns(seed=2)
    expected = evaluated(seen, learned).metrics["neighbours_auroc"]
    for side in (seen, learned):
        changed = (side["task"] == TASKS.index("change")) & (side["target"] == 1)
        looks = np.stack([np.ones_like(side["label"]), 1 - side["label"]], 1)  # exactly as videos of the other label
        side["vector"][changed] = 9 * np.pad(looks, ((0, 0), (0, 4)))[changed]
    assert evaluated(seen, learned).metrics["neighbours_auroc"] == expected


def test_the_share_of_neighbours_is_by_cosine() -> None:
    among = np.array([[9.0, 0.1], [1.0, 0.0], [0.0, 1.0], [0.1, 0.2]])
    label = np.array([0, 0, 1, 1])
    shares = neighbours_share(np.array([[1.0, 0.0], [0.0, 7.0], [1.0, 1.0]]), among, label, count=2)
    assert shares.tolist() == [0, 1, 1 / 2]


def test_what_is_measured_survives_its_file() -> None:
    found = evaluated(columns(), counts={"broken_videos": 3})
    assert Metrics.from_json(found.to_json()) == found
    assert (found.protocol, found.grid, found.headline) == ("pretext", "clips", "pretext_accuracy")
    assert (found.counts["clips"], found.counts["videos"], found.counts["broken_videos"]) == (960, 12, 3)
