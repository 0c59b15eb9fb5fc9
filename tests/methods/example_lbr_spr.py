"""LBR-SPR made small, for the contract suite."""

from typing import Any

from toy_cubes import cube_data

from vad.datamodules.video_data import VideoData
from vad.methods.anomaly_detector import AnomalyDetector
from vad.methods.lbr_spr import LBRSPR


def detector(**options: Any) -> AnomalyDetector:
    """Everything on at once: motion, bands, refinement, our schedule and averages."""
    return LBRSPR(
        **{
            "width": 4,
            "channels": 1,
            "motion": True,
            "bands": 2,
            "warmup_epochs": 0.5,
            "shrink_rate": 0.05,
            "schedule": "cosine",
            "average": 0.9,
            "precise_batchnorm": True,
            **options,
        }
    )


def data(**options: Any) -> VideoData:
    """Cubes with flow, in two bands."""
    return cube_data(**{"flow": True, "bands": 2, **options})
