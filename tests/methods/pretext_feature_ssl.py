"""Pretraining on features made small, for the contract suite."""

from typing import Any

from toy_sequences import sequence_data

from vad.datamodules.pretext_data import PretextData
from vad.methods.feature_ssl import FeatureSSL
from vad.methods.pretext_method import PretextMethod


def method(**options: Any) -> PretextMethod:
    """Everything on at once: attention in a narrow window, noise, dropout."""
    return FeatureSSL(
        **{"dims": (2, 3), "width": 32, "heads": 2, "window": 8, "layers": 1, "hidden": 16, "noise": 0.1, **options}
    )


def data(**options: Any) -> PretextData:
    """Pointers that turn; four steps an epoch."""
    return sequence_data(**{"checkpoint_every": 4, **options})
