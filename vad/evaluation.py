"""Scores, truth and protocol to metrics.json: the only way to a number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from vad.benchmarks import Benchmark
from vad.scores import Scores

Grid = Literal["frames", "floor16", "ceil16", "official"]


class Estimate(NamedTuple):
    """A figure with its 95 % interval from a bootstrap over videos; the interval may be unknown."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Metrics:
    """What `metrics.json` holds."""

    method: str
    benchmark: str
    protocol: str
    grid: Grid
    headline: str
    metrics: Mapping[str, Estimate]  # name with suffix ("", "_smoothed", "_paper") or "[kind]"
    constant: Mapping[str, float]  # the same names for a constant score through the same chain
    chain: Mapping[str, Any]  # steps of the paper's chain, and what in it leaks
    counts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The content of metrics.json."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Metrics":
        """Read the content of metrics.json back."""
        raise NotImplementedError


def evaluate(
    scores: Scores,
    benchmark: Benchmark,
    *,
    protocol: str | None = None,
    grid: Grid | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Every metric that applies. Pure and deterministic; `protocol` defaults to the header's, `grid` to the benchmark's."""
    raise NotImplementedError
