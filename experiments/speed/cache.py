"""What the cache of crops saves: cubes per second, bandwidth and bytes of an object (P3, P4, P5 of the targets).

Command: python experiments/speed/cache.py

Input, made here: one H.264 video of 300 frames of 360 x 240 (GOP 25, no B-frames) and 20 boxes in each frame; cubes
are 5 x 32 x 32 with one channel. The cached side gathers random batches of 256 cubes as training does, warm and through
memory maps. The decoding side reads the five frames of each cube with the suite's own reader and cuts them.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

FRAMES, BOXES, WIDTH, HEIGHT, BATCH, REPEATS = 300, 20, 360, 240, 256, 5


def make_footage(root: Path) -> Path:
    """A moving texture as MP4, and random boxes of the size of people as CSV; returns the CSV."""
    draw = np.random.default_rng(0)
    texture = cv2.GaussianBlur(draw.integers(0, 255, (HEIGHT, WIDTH + FRAMES, 3), dtype=np.uint8), (9, 9), 0)
    (root / "test").mkdir(parents=True)
    with av.open(str(root / "test" / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "25", "bf": "0", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(FRAMES):
            picture = np.ascontiguousarray(texture[:, index : index + WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    lines = ["video,frame,x1,y1,x2,y2,score"]
    for frame in range(FRAMES):
        for x, y in zip(draw.integers(0, WIDTH - 30, BOXES), draw.integers(0, HEIGHT - 50, BOXES), strict=True):
            lines.append(f"test/clip,{frame},{x},{y},{x + 24},{y + 44},0.9")
    path = root / "boxes.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def rate(work: Callable[[], int]) -> list[float]:
    """Items per second of each of `REPEATS` runs, after one that warms up."""
    work()
    rates = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        items = work()
        rates.append(items / (time.perf_counter() - start))
    return rates


def main() -> None:
    """Extract once, then measure both ways to the same cubes."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VAD_CACHE"] = str(Path(folder) / "cache")
        measure(Path(folder))


def measure(folder: Path) -> None:
    """Print the figures."""
    from vad import cache
    from vad.benchmarks import Footage
    from vad.datamodules.rows import StackedRows, Stretch
    from vad.extract.crops import CropRecipe
    from vad.extract.detectors import BoxFile
    from vad.extract.launch import extract
    from vad.extract.objects import ObjectRecipe

    boxes = make_footage(folder / "footage")
    benchmark = Footage(str(folder / "footage"))
    videos = benchmark.videos("test")
    objects = ObjectRecipe(detector=BoxFile(path=str(boxes), format="csv"))
    recipe = CropRecipe(objects=objects, motion=False, cover=None, grey=True)
    extract([objects, recipe], benchmark, videos)
    entry = cache.entry(benchmark.dataset, recipe, videos[0].id)
    frame, box = entry.read("frame", mmap=False), entry.read("box", mmap=False)
    rows = StackedRows("crop", [Stretch(entry, 0, len(frame))])
    draw = np.random.default_rng(1)

    def cached() -> int:
        for _ in range(50):
            rows.gather(np.sort(draw.integers(0, len(rows), BATCH)))
        return 50 * BATCH

    def decoded() -> int:
        chosen = np.sort(draw.integers(0, len(rows), 32))
        with benchmark.open(videos[0]) as reader:
            for row in chosen:
                indices = np.clip(frame[row] + np.array(recipe.offsets), 0, FRAMES - 1)
                x1, y1, x2, y2 = np.ceil(box[row]).astype(int)
                for picture in reader.frames(indices):
                    cv2.resize(cv2.cvtColor(picture[y1:y2, x1:x2], cv2.COLOR_RGB2GRAY), (recipe.size, recipe.size))
        return len(chosen)

    whole = np.ascontiguousarray(entry.read("crop"))

    def copied() -> int:
        for _ in range(5):
            whole.copy()
        return 5 * whole.nbytes

    def read() -> int:
        for _ in range(5):
            rows.gather(np.arange(len(rows)))
        return 5 * rows.nbytes

    fast, slow, bandwidth, copy = (rate(work) for work in (cached, decoded, read, copied))
    bytes_per_object = rows.nbytes / len(rows)
    loose = 4 * len(recipe.offsets) * recipe.size**2 * 3
    print(f"{len(rows)} cubes of {len(recipe.offsets)} x {recipe.size} x {recipe.size}, one channel")
    print(f"cached   {median(fast):12.0f} cubes/s ({min(fast):.0f} to {max(fast):.0f})")
    print(f"decoded  {median(slow):12.0f} cubes/s ({min(slow):.0f} to {max(slow):.0f})")
    print(f"P3 cached / decoded            {median(fast) / median(slow):8.0f} (target >= 50)")
    print(f"P4 read / copy of the bytes    {median(bandwidth) / median(copy):8.2f} (target >= 0.6)")
    print(
        f"P5 bytes / loose float32 RGB   {bytes_per_object / loose:8.3f} (target <= 0.3; {bytes_per_object:.0f} bytes)"
    )


if __name__ == "__main__":
    main()
