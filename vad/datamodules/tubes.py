"""Tubes: an object's box cut out of the frames around its own, as SSMTL reads them.

cache: crops of each video, longer ones of training videos -> one index of (video, row) -> BatchOrder -> TubeBatch
"""

from typing import Literal

from vad.benchmarks import Benchmark
from vad.datamodules.video_data import VideoData
from vad.extract.detectors import Detector
from vad.extract.motion import Motion
from vad.extract.teachers import Teacher
from vad.types import Protocol


class TubeData(VideoData):
    """Tubes of detected and moving objects. Defaults are SSMTL's on Ped2.

    Args:
        detector: Finds objects; `None` for moving ones alone.
        motion: Finds what moves outside the detector's boxes; `None` for detected ones alone.
        confidence: Detector boxes above this.
        min_area: Smallest (w + 1)(h + 1) of a box, in pixels of the video.
        cover: A box goes when a larger one covers more than this share of it; `None` to keep all.
        teacher: Whose logits are learned; `None` for none.
        every: Objects of every so manieth training frame are learned from.
        reach: Frames to each side that a training tube holds; objects without them are left out.
        size: Width and height of a tube.
    """

    def __init__(
        self,
        *,
        benchmark: Benchmark,
        protocol: Protocol = "one_class",
        batch_size: int = 256,
        detector: Detector | None = None,
        motion: Motion | None = None,
        confidence: float = 0.5,
        min_area: float = 100.0,
        cover: float | None = None,
        teacher: Teacher | None = None,
        every: int = 1,
        reach: int = 12,
        size: int = 64,
        validation: float = 0.15,
        max_videos: int | None = None,
        max_items: int | None = None,
        checkpoint_every: int | None = None,
        num_workers: int = 0,
        in_memory: bool | Literal["auto"] = "auto",
        seed: int = 0,
    ) -> None:
        super().__init__(
            benchmark=benchmark,
            protocol=protocol,
            batch_size=batch_size,
            validation=validation,
            max_videos=max_videos,
            max_items=max_items,
            checkpoint_every=checkpoint_every,
            num_workers=num_workers,
            in_memory=in_memory,
            seed=seed,
        )
