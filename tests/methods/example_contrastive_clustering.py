"""Contrastive clustering made small, for the contract suite."""

from typing import Any

from toy_bags import bag_data

from vad.datamodules.video_data import VideoData
from vad.methods.anomaly_detector import AnomalyDetector
from vad.methods.contrastive_clustering import ContrastiveClustering


def detector(**options: Any) -> AnomalyDetector:
    """Everything on at once: two centres of each category, both anchors, background, centres that score too."""
    return ContrastiveClustering(
        **{
            "dims": (12, 8),
            "width": 16,
            "heads": 2,
            "window": 8,
            "projection": 8,
            "learning_rate": 3e-3,
            "anchor": "both",
            "clusters": 2,
            "members": 32,
            "use_bg_of_abnormal": True,
            "score_mix": 0.3,
            **options,
        }
    )


def data(**options: Any) -> VideoData:
    """Bags of two streams; four steps an epoch, so that one may end in its middle."""
    return bag_data(**{"checkpoint_every": 4, **options})
