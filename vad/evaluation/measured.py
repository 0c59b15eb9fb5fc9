"""What was measured: figures with their intervals, as `metrics.json` holds them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from vad.benchmarks.benchmark import Grid

Measured = Grid | Literal["clips"]  # lengths that frames were compared at, or clips of pretext tasks


class Estimate(NamedTuple):
    """A figure with its 95 % interval from a bootstrap over videos, or over groups; it may be unknown."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Metrics:
    """What `metrics.json` holds."""

    method: str
    benchmark: str
    protocol: str
    grid: Measured
    headline: str
    metrics: Mapping[str, Estimate]  # name with suffix ("", "_smoothed", "_paper") or "[kind]"
    constant: Mapping[str, float]  # the same names for a constant score through the same chain, or by chance
    chain: Mapping[str, Any]  # steps of the paper's chain, and what in it leaks
    counts: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return {
            "method": self.method,
            "benchmark": self.benchmark,
            "protocol": self.protocol,
            "grid": self.grid,
            "headline": self.headline,
            "metrics": {name: estimate._asdict() for name, estimate in self.metrics.items()},
            "constant": dict(self.constant),
            "chain": dict(self.chain),
            "counts": dict(self.counts),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Metrics":
        """Read the content of metrics.json back; `KeyError`, `TypeError` or `ValueError` where it is something else."""
        if not isinstance(value, Mapping):
            raise TypeError("expected an object")
        for key in ("method", "benchmark", "protocol", "grid", "headline"):
            if not isinstance(value[key], str):
                raise TypeError(f"{key} must be text")
        for key in ("metrics", "constant", "chain", "counts"):
            if not isinstance(value[key], Mapping):
                raise TypeError(f"{key} must be an object")
        if value["grid"] not in ("clips", *get_args(Grid)):
            raise ValueError(f"there is no grid '{value['grid']}'")
        return cls(
            method=value["method"],
            benchmark=value["benchmark"],
            protocol=value["protocol"],
            grid=value["grid"],
            headline=value["headline"],
            metrics={name: _estimate(figure) for name, figure in value["metrics"].items()},
            constant={name: _finite(figure) for name, figure in value["constant"].items()},
            chain=dict(value["chain"]),
            counts=dict(value["counts"]),
        )


def _estimate(figure: Mapping[str, Any]) -> Estimate:
    low, high = figure["low"], figure["high"]
    return Estimate(
        _finite(figure["value"]),
        None if low is None else _finite(low),
        None if high is None else _finite(high),
    )


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)
