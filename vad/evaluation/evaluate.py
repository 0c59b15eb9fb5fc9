"""Every metric that applies to scores of a benchmark."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vad.aggregation import apply_chain, frame_scores, leaks, smooth
from vad.benchmarks import Benchmark
from vad.benchmarks.benchmark import Grid
from vad.errors import ConfigError, ScoresError
from vad.evaluation.alignment import Aligned, align
from vad.evaluation.boxes import box_figures
from vad.evaluation.figures import Figure, Frames, frame_figures
from vad.evaluation.measured import Estimate, Metrics
from vad.metrics import bootstrap, frame
from vad.scores import Scores
from vad.types import Record

Chain = Sequence[Mapping[str, Any]]


def evaluate(
    scores: Scores,
    benchmark: Benchmark,
    *,
    protocol: str | None = None,
    grid: Grid | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Every metric that applies. Deterministic; `protocol` defaults to the header's, `grid` to the benchmark's.

    Raises `ScoresError` where scores and benchmark do not fit, `DataError` where the benchmark lacks truth or grid.
    """
    measured = Evaluated(scores, benchmark, protocol=protocol, grid=grid, draws=draws, seed=seed)
    estimates = {}
    for name, figure in measured.figures.items():
        low, high = (None, None) if figure.samples is None else bootstrap.interval(figure.samples)
        estimates[name] = Estimate(figure.value, low, high)
    return Metrics(
        method=str(scores.header.get("method", "unknown")),
        benchmark=benchmark.measured_as,
        protocol=measured.protocol,
        grid=measured.grid,
        headline=benchmark.headline,
        metrics=estimates,
        constant=measured.constant(),
        chain={"steps": [dict(step) for step in measured.chain], "leaks": leaks(measured.chain)},
        counts=measured.counts(),
    )


def paired_difference(first: Sequence["Evaluated"], second: Sequence["Evaluated"]) -> dict[str, Estimate]:
    """How much the mean over the seeds of one method is above that of another, in every metric that all have.

    The interval is over the same draws of videos, or of groups where material was composed, for both. With each draw as
    many seeds of a method are drawn as there are, so that it covers the choice of seeds too, where there are several.

    Raises `ScoresError` if they were scored on different videos, or stand for different protocols.
    """
    every = [*first, *second]
    if protocols := {evaluated.protocol for evaluated in every} - {first[0].protocol}:
        raise ScoresError(f"cannot compare scores of the protocols {first[0].protocol} and {protocols.pop()}")
    if any(evaluated.test.videos != first[0].test.videos for evaluated in every):
        raise ScoresError("cannot compare scores of different videos")
    differences = {}
    for name in first[0].figures:
        if all(name in evaluated.figures for evaluated in every):
            ours, theirs = ([evaluated.figures[name] for evaluated in side] for side in (first, second))
            random = np.random.default_rng(0)
            samples = [_over_seeds(side, random) for side in (ours, theirs)]
            low, high = None, None
            if samples[0] is not None and samples[1] is not None:
                low, high = bootstrap.interval(samples[0] - samples[1])
            value = float(np.mean([f.value for f in ours]) - np.mean([f.value for f in theirs]))
            differences[name] = Estimate(value, low, high)
    return differences


def _over_seeds(figures: Sequence[Figure], random: np.random.Generator) -> np.ndarray | None:
    """Mean over the seeds of one method in every draw, float64 (draws,), the seeds drawn with replacement."""
    samples = [figure.samples for figure in figures if figure.samples is not None]
    if len(samples) < len(figures):
        return None
    table = np.stack(samples)
    drawn = random.integers(len(table), size=table.shape)
    return np.take_along_axis(table, drawn, 0).mean(0)


class Evaluated:
    """Scores, aligned with the truth of a benchmark, and every figure of them.

    Args:
        scores: Of one run.
        benchmark: Says the truth.
        protocol: What was learned from; `None` for what the scores say.
        grid: Lengths to compare at; `None` for the benchmark's own.
        draws: Of the bootstrap; 0 for no intervals.
        seed: Of the bootstrap.
    """

    def __init__(
        self,
        scores: Scores,
        benchmark: Benchmark,
        *,
        protocol: str | None = None,
        grid: Grid | None = None,
        draws: int = 1000,
        seed: int = 0,
    ) -> None:
        scores.check()
        self.protocol = protocol or scores.header.get("protocol") or ""
        if not self.protocol:
            raise ScoresError("the scores name no protocol: give --protocol")
        self.grid: Grid = grid or benchmark.default_grid
        self.chain: Chain = scores.header.get("chain") or []
        if not isinstance(self.chain, list):
            raise ConfigError("paper_chain: expected a list of steps")
        leaks(self.chain)  # refuses steps that do not exist, before anything is computed
        self.floor = scores.header.get("floor")
        self.logit = scores.header.get("range") == "logit"
        self.draws, self.seed = draws, seed
        self.splits = align(scores, benchmark, self.protocol, self.grid)
        self.test = self.splits["test"]
        self.frames = _frames(self.test)
        if not np.concatenate(self.frames.labels).size:
            raise ScoresError(f"{benchmark.name}: no frame is left to evaluate on the grid {self.grid}")
        self.variants = _variants(self.test, self.chain, self.floor)
        self.figures = self._figures()

    def _figures(self) -> dict[str, Figure]:
        weights = self._weights(self.frames)
        found: dict[str, Figure] = {}
        for suffix, scores in self.variants.items():
            threshold = 0.0 if self.logit and suffix != "_paper" else None  # a logit of 0 is a probability of 0.5
            found |= frame_figures(self.frames, scores, weights, suffix=suffix, threshold=threshold)
        found |= box_figures(self.test, None if self.frames.groups is not None else weights)
        if "train" in self.splits:
            found |= self._merged()
        return found

    def _weights(self, frames: Frames) -> np.ndarray | None:
        if self.draws < 2 or frames.units < 2:
            return None
        # Sets with normal and abnormal videos keep both in every draw. Groups mostly hold both, and a stratum of the
        # few that do not would hardly vary.
        stratified = self.protocol == "weak" and frames.groups is None
        strata = frames.abnormal.astype(np.int64) if stratified else np.zeros(frames.units, dtype=np.int64)
        return bootstrap.draw_weights(strata, self.draws, self.seed)

    def _merged(self) -> dict[str, Figure]:
        """`merge_all_micro_auroc`: training frames count as normal ones, as LBR's published code has it."""
        train = self.splits["train"]
        label = np.concatenate(train.labels() + list(self.frames.labels)).astype(bool)
        lengths = [*train.lengths, *self.test.lengths]
        unit = np.repeat(np.arange(len(lengths)), lengths)
        weights = bootstrap.draw_weights(np.zeros(len(lengths), dtype=np.int64), self.draws, self.seed)
        found = {}
        for suffix, scores in _variants(_joined(train, self.test), self.chain, self.floor).items():
            score = np.concatenate(scores)
            value = frame.auroc(label, score)
            if not np.isfinite(value):
                continue
            samples = None
            if self.draws >= 2:
                bins = bootstrap.RankBins.of(score, unit, len(lengths))
                (samples,) = bootstrap.draw_metrics(
                    bins.table(label), bins.table(~label), weights, frame.auroc_of_counts
                )
            found[f"merge_all_micro_auroc{suffix}"] = Figure(value, samples)
        return found

    def constant(self) -> dict[str, float]:
        """Figures of a score of 1 on every frame through the same chains: what post-processing gives for nothing."""
        lengths = [video.frames for video in self.test.record.videos]
        record = Record(
            self.test.record.videos,
            np.cumsum([0, *lengths], dtype=np.int64),
            frame=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
        )
        flat = Aligned(self.test.videos, self.test.truths, self.test.lengths, record, np.ones(sum(lengths)), 0)
        found: dict[str, float] = {}
        for suffix, scores in _variants(flat, self.chain, self.floor).items():
            figures = frame_figures(self.frames, scores, None, suffix=suffix)
            found |= {name: figure.value for name, figure in figures.items() if "[" not in name}
        return found

    def counts(self) -> dict[str, Any]:
        """What the figures rest on."""
        label = np.concatenate(self.frames.labels)
        single = [len(np.unique(y)) < 2 for y in self.frames.labels]
        raw = np.concatenate(self.variants[""])
        counts: dict[str, Any] = {
            "videos": len(self.test.videos),
            "abnormal_videos": int(self.frames.abnormal.sum()),
            "single_class_videos": sum(single),
            "skipped_videos": sum(split.skipped for split in self.splits.values()),
            "frames": len(label),
            "abnormal_frames": int(label.sum()),
            "share_of_ties": frame.share_of_ties(raw),
        }
        if self.frames.groups is not None:
            counts["groups"] = self.frames.units
            counts["single_class_groups"] = self.frames.units - self.frames.groups_of_both_classes
        if self.test.record.kind == "objects":
            counts["boxes"] = len(self.test.record)
            counts["frames_without_box"] = _frames_without_box(self.test.record)
        if np.isinf(raw).any():
            counts["infinite_scores"] = int(np.isinf(raw).sum())
        if "train" in self.splits:
            counts["training_frames"] = int(sum(self.splits["train"].lengths))
        micro = self.figures.get("micro_auroc")
        if micro is not None and micro.samples is not None:
            counts["draws"] = len(micro.samples)
            counts["draws_of_one_class"] = int((~np.isfinite(micro.samples)).sum())
        return counts


def _variants(aligned: Aligned, chain: Chain, floor: float | None) -> dict[str, list[np.ndarray]]:
    """Scores of frames on the grid, by the suffix of their post-processing."""
    raw = frame_scores(aligned.record, aligned.score, floor=floor)
    variants = {"": raw, "_smoothed": smooth(_finite(raw), cuts=aligned.cuts())}
    if chain:
        variants["_paper"] = apply_chain(chain, aligned.record, _finite([aligned.score])[0], floor=floor)
    for suffix, scores in variants.items():
        for video, score in zip(aligned.videos, scores, strict=True):
            if np.isnan(score).any():
                raise ScoresError(f"{video.id}: the post-processing '{suffix or 'raw'}' gives NaN")
    return {suffix: aligned.on_grid(scores) for suffix, scores in variants.items()}


def _finite(scores: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Infinite scores as the least and the greatest finite one: ranks stay, and means exist."""
    joined = np.concatenate(scores) if len(scores) else np.zeros(0)
    if np.isfinite(joined).all():
        return list(scores)
    known = joined[np.isfinite(joined)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    return [np.clip(score, low, high) for score in scores]


def _frames(test: Aligned) -> Frames:
    labels = test.labels()
    scenes = [video.scene for video in test.videos]
    groups = None
    if all(truth.groups is not None for truth in test.truths):
        given = test.on_grid([np.asarray(truth.groups) for truth in test.truths])
        groups = np.unique(np.concatenate(given), return_inverse=True)[1].astype(np.int64)
    kinds: dict[str, np.ndarray] = {}
    for kind in sorted({kind for truth in test.truths for kind in truth.kinds or {}}):
        marked = [(truth.kinds or {}).get(kind, np.zeros(len(truth.frames), np.uint8)) for truth in test.truths]
        kinds[kind] = np.concatenate(test.on_grid(marked)).astype(bool)
    abnormal = [
        bool(truth.frames.any()) if video.label is None else bool(video.label) or bool(truth.frames.any())
        for video, truth in zip(test.videos, test.truths, strict=True)
    ]
    return Frames(
        labels=labels,
        abnormal=np.array(abnormal, dtype=bool),
        scenes=[scene for scene in scenes if scene is not None] if all(s is not None for s in scenes) else None,
        groups=groups,
        kinds=kinds or None,
    )


def _joined(first: Aligned, second: Aligned) -> Aligned:
    """The videos of two splits as one set, in this order."""
    records = (first.record, second.record)

    def rows(name: str) -> np.ndarray | None:
        arrays = [getattr(record, name) for record in records]
        return None if arrays[0] is None else np.concatenate(arrays)

    record = Record(
        first.record.videos + second.record.videos,
        np.concatenate([first.record.offsets, second.record.offsets[1:] + first.record.offsets[-1]]),
        frame=rows("frame"),
        box=rows("box"),
        first=rows("first"),
        end=rows("end"),
    )
    return Aligned(
        first.videos + second.videos,
        first.truths + second.truths,
        first.lengths + second.lengths,
        record,
        np.concatenate([first.score, second.score]),
        first.skipped + second.skipped,
    )


def _frames_without_box(record: Record) -> int:
    assert record.frame is not None
    starts = np.cumsum([0, *(video.frames for video in record.videos)])
    video = np.repeat(np.arange(len(record.videos)), np.diff(record.offsets))
    return int(starts[-1]) - len(np.unique(starts[video] + record.frame))
