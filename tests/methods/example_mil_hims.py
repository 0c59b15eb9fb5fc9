"""MIL with hard instance mining made small, for the contract suite."""

from typing import Any

from toy_bags import bag_data

from vad.datamodules.video_data import VideoData
from vad.methods.anomaly_detector import AnomalyDetector
from vad.methods.mil_hims import MILHIMS


def detector(**options: Any) -> AnomalyDetector:
    """Everything on at once: both kinds of mining, prototypes, contrast, attention in a narrow window."""
    return MILHIMS(
        **{
            "dims": (12, 8),
            "width": 16,
            "heads": 2,
            "window": 8,
            "projection": 8,
            "learning_rate": 3e-3,
            "key": "gate",
            "contrast": 0.1,
            "background": True,
            **options,
        }
    )


def data(**options: Any) -> VideoData:
    """Bags of two streams; four steps an epoch, so that one may end in its middle."""
    return bag_data(**{"checkpoint_every": 4, **options})
