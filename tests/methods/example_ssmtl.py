"""SSMTL made small, for the contract suite."""

from typing import Any

from toy_tubes import CLASSES, LOGITS, tube_data

from vad.datamodules.video_data import VideoData
from vad.methods.anomaly_detector import AnomalyDetector
from vad.methods.ssmtl import SSMTL


def detector(**options: Any) -> AnomalyDetector:
    """Everything on at once: all heads, a teacher and a detector, mirrored tubes, our schedule."""
    return SSMTL(
        **{
            "deep": False,
            "wide": False,
            "channels": 1,
            "size": 16,
            "teacher_classes": LOGITS,
            "detector_classes": CLASSES,
            "head_width": 8,
            "head_hidden": 8,
            "flip": True,
            "schedule": "cosine",
            "precise_batchnorm": True,
            **options,
        }
    )


def data(**options: Any) -> VideoData:
    """Tubes of 16 x 16, with class probabilities and a teacher's logits."""
    return tube_data(**options)
