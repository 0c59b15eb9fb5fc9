"""One planned video to its files: frames to MP4, truth beside it."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import cv2
import numpy as np

from vad import files
from vad.benchmarks.synthetic.events import KINDS
from vad.benchmarks.synthetic.plan import Plan
from vad.benchmarks.synthetic.renderer import REGION, render
from vad.benchmarks.synthetic.scene import FPS, HEIGHT, SCENES, WIDTH
from vad.benchmarks.synthetic.script import write as write_script

GOP = 50  # frames from one key frame to the next
QUALITY = 21  # x264's constant rate factor: visible compression, small people intact


def one_thread() -> None:
    """For processes that render side by side: frames are too small to share out."""
    cv2.setNumThreads(1)


def write(plan: Plan, folder: Path, version: int) -> None:
    """Render a video; `<id>.json` is written last, so that a video without it does not exist."""
    path = folder / plan.split / f"{plan.id}.mp4"
    script = write_script(
        SCENES[plan.scene], frames=plan.frames, kinds=plan.kinds, rng=np.random.default_rng([*plan.key, 0])
    )
    regions: list[tuple] = []

    def images() -> Iterator[np.ndarray]:
        for frame in render(script, seed=plan.key[0], rng=np.random.default_rng([*plan.key, 1])):
            regions.extend(frame.regions)
            yield frame.image

    with files.atomic_write(path) as stream:
        encode(stream, images())
    files.write_npy(path.with_name(f"{plan.id}.npy"), np.array(regions, REGION))
    files.write_json(
        path.with_name(f"{plan.id}.json"),
        {
            "version": version,
            "frames": plan.frames,
            "fps": FPS,
            "size": [WIDTH, HEIGHT],
            "scene": SCENES[plan.scene].name,
            "events": list(plan.kinds),
            "kinds": list(KINDS),
            "bytes": path.stat().st_size,
        },
    )


def encode(stream: IO[bytes], images: Iterator[np.ndarray]) -> None:
    """Write frames uint8 RGB as H.264 in MP4: closed groups of pictures, no reordering, the same bytes every time."""
    with av.open(stream, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=Fraction(int(FPS)))
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {
            "preset": "veryfast",
            "crf": str(QUALITY),
            "threads": "1",
            "bf": "0",
            "g": str(GOP),
            "flags": "+cgop+bitexact",
        }
        for image in images:
            frame = av.VideoFrame.from_ndarray(
                np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420), np.uint8), "yuv420p"
            )
            container.mux(video.encode(frame))
        container.mux(video.encode())
