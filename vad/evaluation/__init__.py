"""Scores, truth and protocol to metrics.json: the only way to a number."""

from vad.benchmarks.benchmark import Grid
from vad.evaluation.evaluate import Evaluated, evaluate, paired_difference
from vad.evaluation.measured import Estimate, Metrics

__all__ = ["Estimate", "Evaluated", "Grid", "Metrics", "evaluate", "paired_difference"]
