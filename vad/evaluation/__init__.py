"""Scores, truth and protocol to metrics.json: the only way to a number."""

from vad.benchmarks.benchmark import Grid
from vad.evaluation.evaluate import evaluate, paired_difference
from vad.evaluation.measured import Estimate, Metrics

__all__ = ["Estimate", "Grid", "Metrics", "evaluate", "paired_difference"]
