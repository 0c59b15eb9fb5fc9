"""The benchmark `Synthetic`: index, truth and rendering of generated footage."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

from vad import files
from vad.benchmarks.benchmark import Benchmark, data_root
from vad.benchmarks.synthetic.events import KINDS
from vad.benchmarks.synthetic.plan import SPLITS, Plan, Size, plan
from vad.errors import ConfigError, DataError, VadError
from vad.types import Regions, Report, Split, Truth, Video
from vad.video import VideoReader

VERSION = 1  # of the rendering: videos of another version count as missing


class Synthetic(Benchmark):
    """People who walk in four places; some run, cycle, drive, walk the wrong way, loiter or fight.

    Videos are 320 x 240 at 25 fps, rendered by `make` below `$VAD_CACHE/generated`. Truth is exact: boxes are the
    bounds of what can be seen of an abnormal actor; a frame is abnormal if it has such a box.

    Our choice: people are drawn as articulated figures, since there is nothing to reproduce here. A detector trained on
    photographs does not see them: objects come from background subtraction.

    Args:
        size: `demo` has 8 + 24 + 12 videos (train, weak_train, test) of some 300 frames, `full` six times as many and
            longer ones.
        seed: Everything random is a function of it, of the split and of the video's position in it.
        root: The folder of the generated videos; `None` means `$VAD_CACHE/generated/<dataset>`.
    """

    folder: ClassVar[str] = "synthetic"
    splits: ClassVar[tuple[Split, ...]] = SPLITS

    def __init__(self, size: Size = "demo", seed: int = 0, root: str | None = None) -> None:
        super().__init__(root)
        if size not in get_args(Size):
            raise ConfigError(f"Synthetic: size is one of {', '.join(get_args(Size))}, not '{size}'")
        if seed < 0:
            raise ConfigError(f"Synthetic: seed must not be negative, got {seed}")
        self.size: Size = size
        self.seed = seed

    @property
    def dataset(self) -> str:
        return f"synthetic-{self.size}-{self.seed}"

    @property
    def root(self) -> Path:
        """The folder of the generated videos, whether it exists or not; never below `$VAD_DATA`."""
        if self._root is not None:
            root = Path(self._root)
        else:
            root = files.cache_root() / "generated" / self.dataset
        if root.resolve().is_relative_to(data_root().resolve()):
            raise ConfigError(
                f"Synthetic: {root} lies below VAD_DATA, where nothing is ever written; give benchmark.root"
            )
        return root

    @property
    def command(self) -> str:
        """What renders this benchmark."""
        words = ["vad data make --benchmark Synthetic"]
        words += [f"--benchmark.size {self.size}"] if self.size != "demo" else []
        words += [f"--benchmark.seed {self.seed}"] if self.seed else []
        return " ".join(words + ([f"--benchmark.root {self._root}"] if self._root is not None else []))

    def make(
        self,
        processes: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        splits: Sequence[Split] = SPLITS,
    ) -> int:
        """Render the videos that are missing; a stopped run goes on where it was.

        Args:
            processes: How many videos are rendered at a time; by default one for each core.
            progress: Called with the number of videos that are there and the number of all, at first and after each.
            splits: Which splits are rendered.

        Returns:
            The number of videos that were rendered.
        """
        from vad.benchmarks.synthetic import writer

        plans, root = [p for p in plan(self.size, self.seed) if p.split in splits], self.root
        missing = [p for p in plans if self._problem(p) is not None]
        report = progress or (lambda done, of: None)
        done = len(plans) - len(missing)
        report(done, len(plans))
        workers = min(processes or os.cpu_count() or 1, len(missing))
        if workers <= 1:
            for one in missing:
                writer.write(one, root, VERSION)
                report(done := done + 1, len(plans))
            return len(missing)
        with ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context("spawn"), initializer=writer.one_thread
        ) as pool:
            futures = [pool.submit(writer.write, one, root, VERSION) for one in missing]
            try:
                for future in as_completed(futures):
                    future.result()
                    report(done := done + 1, len(plans))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return len(missing)

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        plans = [p for p in plan(self.size, self.seed) if p.split == split]
        missing = [p for p in plans if self._problem(p) is not None]
        if missing:
            raise DataError(
                f"{self.name}: {len(missing)} of {len(plans)} videos of {split} are not rendered in {self.root}; "
                f"run  {self.command}"
            )
        return [self._video(p) for p in plans]

    def open(self, video: Video) -> VideoReader:
        from vad.video import open_video

        return open_video(self._path(video.split, video.id, "mp4"))

    def truth(self, video: Video) -> Truth:
        rows = files.read_npy(self._path(video.split, video.id, "npy"))
        if (
            video.frames is None
            or rows.dtype.names != ("frame", "track", "kind", "box")
            or (len(rows) and int(rows["frame"].max()) >= video.frames)
        ):
            raise DataError(f"{self.name}: the truth of {video.id} is damaged; delete it and run  {self.command}")
        frames = np.zeros(video.frames, np.uint8)
        frames[rows["frame"]] = 1
        kinds = {}
        for k, kind in enumerate(KINDS):
            kinds[kind] = np.zeros(video.frames, np.uint8)
            kinds[kind][rows["frame"][rows["kind"] == k]] = 1
        regions = Regions(
            frame=np.ascontiguousarray(rows["frame"], np.int32),
            box=np.ascontiguousarray(rows["box"], np.float32),
            track=np.ascontiguousarray(rows["track"], np.int32),
            derived=False,
        )
        return Truth(frames=frames, regions=regions, kinds=kinds)

    def check(self, *, decode: bool = False) -> Report:
        counts: dict[str, dict[str, int]] = {}
        problems = []
        for split in self.splits:
            count: Counter[str] = Counter(videos=0, frames=0, abnormal_videos=0, abnormal_frames=0)
            for one in (p for p in plan(self.size, self.seed) if p.split == split):
                problem = self._problem(one) or self._truth_problem(one, count, decode)
                if problem is not None:
                    problems.append(f"{one.id}: {problem}; run  {self.command}")
            counts[split] = dict(count)
        return Report(self.name, str(self.root), counts, tuple(problems))

    def _truth_problem(self, one: Plan, count: Counter[str], decode: bool) -> str | None:
        """What is wrong with a rendered video's frames and truth; counts it."""
        video = self._video(one)
        try:
            truth = self.truth(video)
            with self.open(video) as reader:
                length = sum(1 for _ in reader) if decode else len(reader)
        except VadError as error:
            return str(error)
        if length != one.frames:
            return f"holds {length} frames, not {one.frames}"
        seen = {kind for kind, frames in (truth.kinds or {}).items() if frames.any()}
        if seen != set(one.kinds):
            found, planned = (", ".join(sorted(kinds)) or "nothing" for kinds in (seen, set(one.kinds)))
            return f"its truth shows {found}, not {planned}"
        count.update(
            videos=1,
            frames=length,
            abnormal_videos=int(bool(one.kinds)),
            abnormal_frames=int(truth.frames.sum()),
            **{kind: int(frames.sum()) for kind, frames in (truth.kinds or {}).items()},
        )
        return None

    def _problem(self, one: Plan) -> str | None:
        """Why a video counts as missing, or None if it is there; nothing is decoded."""
        described = self._path(one.split, one.id, "json")
        if not described.is_file():
            return "is not rendered"
        try:
            content: Any = files.read_json(described)
        except VadError as error:
            return str(error)
        if not isinstance(content, dict) or content.get("version") != VERSION or content.get("frames") != one.frames:
            return "was rendered by another version"
        path = self._path(one.split, one.id, "mp4")
        if not path.is_file() or path.stat().st_size != content.get("bytes"):
            return f"{path} is missing or damaged"
        if not self._path(one.split, one.id, "npy").is_file():
            return "has no truth"
        return None

    def _path(self, split: Split, video_id: str, suffix: str) -> Path:
        return self.root / split / f"{video_id}.{suffix}"

    def _video(self, one: Plan) -> Video:
        from vad.benchmarks.synthetic.scene import FPS, HEIGHT, SCENES, WIDTH

        return Video(
            id=one.id,
            split=one.split,
            path=self._path(one.split, one.id, "mp4"),
            label=int(bool(one.kinds)),
            frames=one.frames,
            fps=FPS,
            size=(WIDTH, HEIGHT),
            scene=SCENES[one.scene].name,
        )
