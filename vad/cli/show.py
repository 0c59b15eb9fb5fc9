"""`vad show`: what the suite sees of one video, as a picture or a film."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vad.cli.mistakes import Parser
from vad.errors import ConfigError, VadError

if TYPE_CHECKING:
    import numpy as np

    from vad.benchmarks import Benchmark
    from vad.cache import Entry
    from vad.datamodules.video_data import VideoData
    from vad.drawing import Scene
    from vad.scores import Scores
    from vad.types import Objects, Truth, Video

EXAMPLES = """examples:
  vad show --config experiments/lbr_spr_ucsd_ped2.yaml --video Test001
  vad show --run runs/lbr_spr_ucsd_ped2/base/seed-0 --video Test004 --frames 30,60,90
  vad show --run runs/lbr_spr_ucsd_ped2/base/seed-0 --video Test004 --film"""


def main(arguments: Sequence[str]) -> None:
    """Draw frames with boxes and truth, crops, and scores where there are any."""
    parser = Parser(
        prog="vad show",
        description="Draw what the suite sees of one video: frames with boxes (blue: detector, orange: motion) and "
        "truth (red), the crops of one frame, and the score curve of a run. Other options go to the experiment.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--run", metavar="RUN", help="a run folder: its experiment, with its scores")
    parser.add_argument("--video", required=True, help="id of the video")
    parser.add_argument("--frames", help="frames to draw, as 0,50,100 (default: six, evenly spread)")
    parser.add_argument("--film", action="store_true", help="write every frame as MP4 instead of a picture")
    parser.add_argument("--scale", type=int, default=2, help="enlargement (default: %(default)s)")
    parser.add_argument("--out", help="file to write (default: show-<video>.png or .mp4)")
    options, rest = parser.parse_known_args(list(arguments))

    from vad.cli.experiment import parse, run_arguments
    from vad.runs import RunFolder
    from vad.scores import Scores

    folder = RunFolder(Path(options.run)) if options.run else None
    if folder is not None and not folder.config.is_file():
        raise ConfigError(f"--run {options.run}: holds no config.yaml, so it is no run folder")
    experiment = parse(rest if folder is None else run_arguments(folder, rest))
    data = experiment.data
    video = _find(data, options.video)
    scores = Scores.load(folder.scores) if folder is not None and folder.scores.is_file() else None
    view = View(data, video, scores)
    if options.film:
        out = Path(options.out or f"show-{_file_name(video.id)}.mp4")
        view.film(out, scale=options.scale)
    else:
        out = Path(options.out or f"show-{_file_name(video.id)}.png")
        view.sheet(out, _frames(options.frames, view.length), scale=options.scale)
    print(out)


class View:
    """One video of an experiment with its objects, truth and scores, each where it is there."""

    def __init__(self, data: "VideoData", video: "Video", scores: "Scores | None") -> None:
        self.benchmark: Benchmark = data.benchmark
        self.video = video
        self.scores = scores
        self.entry = _crops_entry(data, video)
        self.objects = _objects(self.entry)
        try:
            self.truth: Truth | None = self.benchmark.truth(video)
        except VadError:  # footage without labels can be looked at all the same
            self.truth = None
        with self.benchmark.open(video) as reader:
            self.length = len(reader)

    def scenes(self, indices: Sequence[int]) -> Iterator["Scene"]:
        """What is known about each of the frames `indices`, ascending."""
        with self.benchmark.open(self.video) as reader:
            for index in indices:
                yield self._scene(index, reader.frames([index])[0])

    def _scene(self, index: int, frame: "np.ndarray") -> "Scene":
        from vad.drawing import Scene

        rows = None if self.objects is None else self.objects.frame == index
        truth = self.truth
        regions = truth.regions if truth is not None else None
        return Scene(
            index=index,
            frame=frame,
            objects=None if self.objects is None or rows is None else self.objects.rows(rows),
            scores=None if (found := self._object_scores()) is None or rows is None else found[rows],
            mask=truth.masks(index) if truth is not None and truth.masks is not None else None,
            regions=None if regions is None else regions.box[regions.frame == index],
            abnormal=None if truth is None else bool(truth.frames[index]),
        )

    def _video_rows(self) -> slice | None:
        if self.scores is None:
            return None
        for place, scored in enumerate(self.scores.record.videos):
            if scored.id == self.video.id:
                return slice(int(self.scores.record.offsets[place]), int(self.scores.record.offsets[place + 1]))
        return None

    def _object_scores(self) -> "np.ndarray | None":
        rows = self._video_rows()
        if rows is None or self.scores is None or self.objects is None or self.scores.record.box is None:
            return None
        found = self.scores.score[rows]
        return found if len(found) == len(self.objects) else None

    def frame_scores(self) -> "np.ndarray | None":
        """Raw frame scores of this video, float64 (n,), where it was scored."""
        from vad.aggregation import frame_scores

        if self.scores is None:
            return None
        every = frame_scores(self.scores.record, self.scores.score, floor=float(self.scores.header["floor"]))
        ids = [scored.id for scored in self.scores.record.videos]
        return every[ids.index(self.video.id)] if self.video.id in ids else None

    def sheet(self, out: Path, indices: Sequence[int], *, scale: int) -> None:
        """Write chosen frames, the crops of the last of them and the score curve as one PNG."""
        import cv2
        import numpy as np

        from vad import files
        from vad.drawing import draw_crops, draw_curve, draw_scene, stack

        pictures = [stack([draw_scene(scene, scale=scale) for scene in self.scenes(indices)], columns=3)]
        if self.objects is not None and self.entry is not None:
            rows = np.flatnonzero(self.objects.frame == indices[-1])
            if len(rows):
                pictures.append(draw_crops(np.asarray(self.entry.read("crop")[rows]), scale=scale))
        scored = self.frame_scores()
        if scored is not None:
            labels = None if self.truth is None else self.truth.frames
            pictures.append(draw_curve(scored, labels, width=pictures[0].shape[1], marks=indices))
        done, encoded = cv2.imencode(".png", cv2.cvtColor(stack(pictures), cv2.COLOR_RGB2BGR))
        if not done:
            raise VadError(f"{out}: the picture could not be encoded")
        with files.atomic_write(out) as stream:
            stream.write(encoded.tobytes())

    def film(self, out: Path, *, scale: int) -> None:
        """Write every frame with the growing score curve below it as H.264 in MP4."""
        import av
        import numpy as np

        from vad import files
        from vad.drawing import draw_curve, draw_scene, stack

        scored = self.frame_scores()
        labels = None if self.truth is None else self.truth.frames
        with files.atomic_write(out) as stream, av.open(stream, "w", format="mp4") as container:
            film = container.add_stream("libx264", rate=round(self.video.fps or 10))
            film.pix_fmt = "yuv420p"
            for scene in self.scenes(range(self.length)):
                picture = draw_scene(scene, scale=scale)
                if scored is not None:
                    curve = draw_curve(scored, labels, width=picture.shape[1], marks=[scene.index])
                    picture = stack([picture, curve])
                picture = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
                film.height, film.width = picture.shape[:2]
                container.mux(film.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(film.encode())


def _find(data: "VideoData", video_id: str) -> "Video":
    from vad.types import protocol_splits

    splits = protocol_splits(data.protocol)
    for split in dict.fromkeys((*splits.score, *splits.fit)):
        for video in data.benchmark.videos(split):
            if video.id == video_id:
                return video
    known = [video.id for video in data.benchmark.videos((splits.score or splits.fit)[0])]
    raise ConfigError(
        f"--video {video_id}: {data.benchmark.name} has no such video; it has {', '.join(known[:5])}, ..."
    )


def _crops_entry(data: "VideoData", video: "Video") -> "Entry | None":
    from vad import cache

    for recipe in reversed(data.recipes()):
        found = cache.entry(data.benchmark.dataset, recipe, video.id)
        if recipe.kind == "crops" and found.exists():
            return found
    return None


def _objects(entry: "Entry | None") -> "Objects | None":
    import numpy as np

    from vad.types import Objects

    if entry is None:
        return None
    arrays = {name: entry.read(name, mmap=False) for name in ("frame", "box", "confidence", "source")}
    return Objects(probability=np.zeros((len(arrays["frame"]), 0), np.float16), **arrays)


def _frames(text: str | None, length: int) -> list[int]:
    if text is None:
        return sorted({round((length - 1) * (i + 0.5) / 6) for i in range(6)})
    try:
        frames = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise ConfigError(f"--frames {text}: expected numbers as 0,50,100") from None
    if frames[0] < 0 or frames[-1] >= length:
        raise ConfigError(f"--frames {text}: the video has the frames 0 to {length - 1}")
    return frames


def _file_name(video_id: str) -> str:
    from vad.cache import escape

    return escape(video_id)
