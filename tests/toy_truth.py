"""A benchmark of a few short videos whose truth is written down here, and scores for it."""

from collections.abc import Mapping, Sequence

import numpy as np

from vad.benchmarks import Benchmark
from vad.scores import Scores
from vad.types import Record, Regions, Report, ScoredVideo, Split, Truth, Video
from vad.video import VideoReader


class ToyTruth(Benchmark):
    """Videos by split, each with its truth."""

    folder = "toy"
    dataset = "toy"
    splits = ("train", "test")

    def __init__(self, test: Sequence[tuple[Video, Truth]], train: Sequence[Video] = ()) -> None:
        super().__init__()
        self.known = {video.id: truth for video, truth in test}
        self.by_split: Mapping[Split, list[Video]] = {"train": list(train), "test": [video for video, _ in test]}

    def videos(self, split: Split) -> list[Video]:
        return self.by_split[split]

    def open(self, video: Video) -> VideoReader:
        raise NotImplementedError

    def truth(self, video: Video) -> Truth:
        return self.known[video.id]

    def check(self, *, decode: bool = False) -> Report:
        raise NotImplementedError


def toy(videos: int = 6, length: int = 40, **truth: object) -> ToyTruth:
    """Every second video is abnormal in frames 10 to 19; lengths differ by one."""
    test = []
    for index in range(videos):
        frames = np.zeros(length + index, dtype=np.uint8)
        frames[10:20] = index % 2
        video = Video(f"t#{index}=a.b/c", "test", label=index % 2, frames=length + index)
        test.append((video, Truth(frames=frames, **truth)))  # type: ignore[arg-type]
    return ToyTruth(test, [Video(f"n{index}", "train", label=0, frames=length) for index in range(3)])


def frames_of(benchmark: Benchmark, *splits: Split) -> Record:
    """The record of a method that scores every frame."""
    videos = [video for split in splits or ("test",) for video in benchmark.videos(split)]
    lengths = [video.frames or 0 for video in videos]
    return Record(
        tuple(ScoredVideo(video.id, video.split, n) for video, n in zip(videos, lengths, strict=True)),
        np.cumsum([0, *lengths], dtype=np.int64),
        frame=np.concatenate([np.arange(n, dtype=np.int32) for n in lengths]),
    )


def header(**changes: object) -> dict[str, object]:
    """A header as a method writes it."""
    return {"method": "toy", "benchmark": "ToyTruth", "protocol": "one_class", "range": "raw", **changes}


def frame_scores_file(benchmark: Benchmark, *splits: Split, seed: int = 0, **changes: object) -> Scores:
    """Random scores of every frame, higher where the truth is abnormal."""
    record = frames_of(benchmark, *splits)
    score = np.random.default_rng(seed).normal(size=len(record))
    for index, video in enumerate(record.videos):
        if video.split == "test":
            rows = slice(record.offsets[index], record.offsets[index + 1])
            score[rows] += benchmark.truth(next(v for v in benchmark.videos("test") if v.id == video.id)).frames
    return Scores(record, score, header=header(**changes))


def boxed(derived: bool = False) -> tuple[ToyTruth, Scores]:
    """T1 and T5 of the worked cases of RBDC and TBDC in one: video a has a track, video b none."""
    box = np.array([[0, 0, 10, 10]], dtype=np.float32)
    regions = Regions(np.arange(3, dtype=np.int32), box.repeat(3, axis=0), np.zeros(3, np.int32), derived)
    a = (Video("a", "test", frames=3), Truth(np.ones(3, np.uint8), regions=regions))
    b = (Video("b", "test", frames=3), Truth(np.zeros(3, np.uint8)))
    record = Record(
        (ScoredVideo("a", "test", 3), ScoredVideo("b", "test", 3)),
        np.array([0, 3, 5]),
        frame=np.array([0, 1, 2, 0, 1], np.int32),
        box=box.repeat(5, axis=0),
    )
    score = np.array([0.8, 0.7, 0.5, 0.9, 0.6])
    return ToyTruth([a, b]), Scores(record, score, header=header(floor=-1.0))


class ToyOfSix(ToyTruth):
    """What `toy()` gives, as a class that the command line can name."""

    def __init__(self, root: str | None = None) -> None:
        built = toy()
        super().__init__([(video, built.truth(video)) for video in built.videos("test")], built.videos("train"))
