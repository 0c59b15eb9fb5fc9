"""Anomaly-aware pretraining made small, for the contract suite."""

from typing import Any

from toy_squares import square_data

from vad.datamodules.pretext_data import PretextData
from vad.methods.anomaly_ssl import AnomalySSL
from vad.methods.pretext_method import PretextMethod


def method(**options: Any) -> PretextMethod:
    """Everything on at once: pieces, colours, blur, masks, flips, both ways, dropout."""
    return AnomalySSL(**{"encoder": "small", "size": (24, 24), "speeds": 3, "hidden": 16, **options})


def data(**options: Any) -> PretextData:
    """Squares that move; the arrow alone in the first two steps of four in an epoch."""
    return square_data(**{"batch_size": 16, "first": ("arrow",), "first_steps": 2, **options})
