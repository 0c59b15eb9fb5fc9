"""`Composed`: short clips of real cameras, joined into longer videos."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from vad import files
from vad.benchmarks.benchmark import Benchmark, data_root
from vad.benchmarks.composed_clips import Clips, Located, find_clips
from vad.benchmarks.composed_plan import SPLITS, Clip, Composition, compose, split_groups
from vad.errors import ConfigError, DataError, VadError
from vad.types import Part, Report, Split, Truth, Video
from vad.video import JoinedReader, VideoReader, open_video

SIZE = (320, 240)  # width and height that every clip is stretched to
OFFICIAL = ("noFight", "fight", "videos.txt")
PUBLISHED = (150, 150)  # normal and abnormal clips of surveillance_fight


class Composed(Benchmark):
    """Clips of some seconds, joined by index into longer videos with a cut at each joint; nothing is encoded again.

        root/fight/fi001.mp4 ...      abnormal clips
        root/noFight/nofi001.mp4 ...  normal clips
        root/videos.txt               the source that each clip was cut from

    By default these are the clips of surveillance_fight. A normal video consists of normal clips, an abnormal one
    holds some abnormal clips among them, and all frames of an abnormal clip are abnormal. Clips recur in several
    videos, never in one video twice. Clips are trimmed to multiples of 16 frames and stretched to 320 x 240, also where
    `sources` are opened.

    Clips of one source show one camera, and make a *group*: groups are split first, so that no camera is in both
    splits, and evaluation draws groups. An abnormal clip is used only if its group gives normal ones too, and each
    group's normal clips stand in normal and in abnormal videos; otherwise the camera is learned instead of the event.

    Your own clips: name their folders, and the list of sources if there is one.

        vad data check --benchmark Composed --benchmark.root clips --benchmark.normal shop --benchmark.abnormal theft
            --benchmark.groups null

    Without a list each clip is a group of its own. Then one camera may be in both splits, and figures may be better
    than they would be on a new camera.

    Args:
        root: Folder at or below which the two folders lie; `None` means `$VAD_DATA/surveillance_fight`.
        normal: Folder of the normal clips, video files at any depth.
        abnormal: Folder of the abnormal clips.
        groups: List beside the folders: below a line that names a source, one line `clip: anything` for each of its
            clips (the path below its folder, without suffix). Clips that it does not list form one group, clips listed
            under several sources are left out. `None` where sources are not known.
        weak_train: So many normal and as many abnormal videos to learn from.
        test: So many normal and as many abnormal videos to score.
        clips: Clips of a video.
        events: Least and greatest number of abnormal clips in an abnormal video.
        share: Share of the groups that `weak_train` is made of.
        seed: Everything random is a function of it.
        development: Leave the groups of the test split out, and split the others anew by this seed: settings are
            chosen so, without a look at the test split. Results name it.
    """

    folder: ClassVar[str] = "surveillance_fight"
    splits: ClassVar[tuple[Split, ...]] = SPLITS
    headline: ClassVar[str] = "micro_auroc"

    def __init__(
        self,
        root: str | None = None,
        *,
        normal: str = OFFICIAL[0],
        abnormal: str = OFFICIAL[1],
        groups: str | None = OFFICIAL[2],
        weak_train: int = 60,
        test: int = 20,
        clips: int = 8,
        events: tuple[int, int] = (1, 3),
        share: float = 0.6,
        seed: int = 0,
        development: int | None = None,
    ) -> None:
        super().__init__(root)
        if min(weak_train, test) < 1:
            raise ConfigError(f"Composed: expected at least 1 video a split, got weak_train {weak_train}, test {test}")
        if not 1 <= events[0] <= events[1] <= clips:
            raise ConfigError(f"Composed: events must lie within 1 and clips, {clips}, got {events[0]} to {events[1]}")
        if not 0 < share < 1:
            raise ConfigError(f"Composed: share must lie between 0 and 1, got {share}")
        for name, given in (("seed", seed), ("development", development)):
            if given is not None and given < 0:
                raise ConfigError(f"Composed: {name} must not be negative, got {given}")
        for name, folder in (("normal", normal), ("abnormal", abnormal)):
            if Path(folder).is_absolute() or ".." in Path(folder).parts:
                raise ConfigError(f"Composed: {name} is a folder below root, got {folder}")
        self.normal = normal
        self.abnormal = abnormal
        self.groups = groups
        self.videos_of_each_label: dict[Split, int] = {"weak_train": weak_train, "test": test}
        self.clips = clips
        self.events = (events[0], events[1])
        self.share = share
        self.seed = seed
        self.development = development

    @property
    def measured_as(self) -> str:
        return self.name if self.development is None else f"{self.name} (development {self.development})"

    @property
    def dataset(self) -> str:
        """Clips are cached once, however they are composed."""
        if self._official:
            return self.folder
        where = [str(self.root.resolve()), self.normal, self.abnormal, self.groups]
        return f"composed-{files.hash_json(where)}"

    def videos(self, split: Split) -> list[Video]:
        self.has(split)
        return [self._video(composition) for composition in self._plan.values() if composition.split == split]

    def sources(self, split: Split) -> list[Video]:
        """The clips that the videos of a split may hold; their scene is their group."""
        self.has(split)
        chosen = (clip for clip in self._used if self._split_of_group[clip.group] == split)
        return [
            Video(
                id=clip.id,
                split=split,
                path=self._located(clip).path,
                label=clip.label,
                frames=self._located(clip).frames,
                fps=self._located(clip).length.fps,
                size=SIZE,
                scene=clip.group,
            )
            for clip in chosen
        ]

    def parts(self, video: Video) -> list[Part]:
        return [Part(clip.id, 0, self._located(clip).frames) for clip in self._consists_of(video)]

    def open(self, video: Video) -> VideoReader:
        parts = self.parts(video)
        with ExitStack() as opened:  # closes what is open where a clip cannot be opened
            readers = [opened.enter_context(open_video(self._usable.located[part.source].path)) for part in parts]
            joined = JoinedReader(
                readers, [(part.start, part.stop) for part in parts], size=SIZE, path=video.path or video.id
            )
            opened.pop_all()
        return joined

    def truth(self, video: Video) -> Truth:
        clips = self._consists_of(video)
        lengths = [self._located(clip).frames for clip in clips]
        numbers = [self._number_of_group[clip.group] for clip in clips]
        return Truth(
            frames=np.repeat(np.array([clip.label for clip in clips], np.uint8), lengths),
            groups=np.repeat(np.array(numbers, np.int16), lengths),
        )

    def check(self, *, decode: bool = False) -> Report:
        """Count videos, clips and groups of each split, and say which clips are left out and why."""
        where = str(self._root if self._root is not None else data_root() / self.folder)
        try:
            clips = self._clips
        except VadError as error:
            return Report(self.name, where, {}, (str(error),))
        problems = [str(error) for error in clips.broken]
        if clips.lost:
            problems.append(f"{self.groups} lists {_some(clips.lost)}, which no folder holds")
        if self._official:
            named = zip((self.normal, self.abnormal), clips.counts, PUBLISHED, strict=True)
            problems += [f"{name}: {there} clips, {of} are published" for name, there, of in named if there != of]
        notes = [f"left out, {reason}: {_some(ids)}" for reason, ids in clips.left_out.items()]
        if self.groups is None:
            notes.append("without a list of sources each clip is a group: one camera may be in both splits")
        elif clips.unlisted:
            notes.append(f"under no source, so that they form one group: {_some(clips.unlisted)}")
        counts: dict[str, dict[str, int]] = {}
        if not clips.broken:
            try:
                counts = {split: self._counts(split) for split in self.splits}
                notes += [note for split in self.splits for note in self._one_sided(split)]
                problems += self._leaks()
            except VadError as error:
                problems.append(str(error))
        if decode:  # in this process: they are short, and were looked at when they were measured
            problems += [problem for clip in clips.located.values() if (problem := clip.damage()) is not None]
        return Report(self.name, where, counts, tuple(problems), tuple(notes))

    def _counts(self, split: Split) -> dict[str, int]:
        videos = self.videos(split)
        truths = [self.truth(video).frames for video in videos]
        clips = {clip for video in videos for clip in self._consists_of(video)}
        return {
            "videos": len(videos),
            "abnormal_videos": sum(video.label == 1 for video in videos),
            "frames": sum(len(frames) for frames in truths),
            "abnormal_frames": sum(int(frames.sum()) for frames in truths),
            "clips": len(clips),
            "abnormal_clips": sum(clip.label for clip in clips),
            "groups": len({clip.group for clip in clips}),
        }

    def _one_sided(self, split: Split) -> list[str]:
        """Groups whose normal clips stand in videos of one label only."""
        if self.groups is None:
            return []
        labels: dict[str, set[int]] = {}
        for composition in self._plan.values():
            for clip in composition.clips if composition.split == split else ():
                if clip.label == 0:
                    labels.setdefault(clip.group, set()).add(composition.label)
        groups = [group for group, found in labels.items() if len(found) < 2]
        if not groups:
            return []
        return [f"{split}: normal clips of {len(groups)} groups are in videos of one label only: ask for more videos"]

    def _leaks(self) -> list[str]:
        """Groups in several splits, seen from the videos."""
        splits: dict[str, set[Split]] = {}
        for composition in self._plan.values():
            for clip in composition.clips:
                splits.setdefault(clip.group, set()).add(composition.split)
        return [f"the group {group} is in several splits" for group, found in splits.items() if len(found) > 1]

    @property
    def _official(self) -> bool:
        return (self.normal, self.abnormal, self.groups) == OFFICIAL

    @cached_property
    def _clips(self) -> Clips:
        return find_clips(self.root, self.normal, self.abnormal, self.groups)

    @property
    def _usable(self) -> Clips:
        """The clips, all of which can be opened: with fewer of them the videos would be others."""
        if self._clips.broken:
            raise self._clips.broken[0]
        return self._clips

    @cached_property
    def _used(self) -> tuple[Clip, ...]:
        """The clips to compose from."""
        used = self._usable.used
        if self.development is None:
            return used
        groups = split_groups(used, self.share, self.seed)
        return tuple(clip for clip in used if groups[clip.group] == "weak_train")

    @property
    def _drawn_by(self) -> int:
        return self.seed if self.development is None else self.development

    @cached_property
    def _split_of_group(self) -> dict[str, Split]:
        return split_groups(self._used, self.share, self._drawn_by)

    @cached_property
    def _number_of_group(self) -> dict[str, int]:
        groups = sorted({clip.group for clip in self._used})
        if len(groups) > np.iinfo(np.int16).max:
            raise DataError(f"{self.name}: {len(groups)} groups are more than truth can number: give benchmark.groups")
        return {group: number for number, group in enumerate(groups)}

    @cached_property
    def _plan(self) -> dict[str, Composition]:
        clips, groups = self._used, self._split_of_group
        try:
            plan = compose(
                clips,
                groups,
                videos=self.videos_of_each_label,
                length=self.clips,
                events=self.events,
                seed=self._drawn_by,
            )
        except VadError as error:
            raise DataError(f"{self.name}: {self.root}: {error}") from None
        return {composition.id: composition for composition in plan}

    @cached_property
    def _by_id(self) -> dict[str, Clip]:
        return {clip.id: clip for clip in self._usable.used}

    def _consists_of(self, video: Video) -> Sequence[Clip]:
        """The clips of a video; a source, which has a path, is one itself."""
        try:
            return self._plan[video.id].clips if video.path is None else (self._by_id[video.id],)
        except KeyError:
            raise DataError(f"{self.name}: there is no video {video.id}") from None

    def _located(self, clip: Clip) -> Located:
        return self._usable.located[clip.id]

    def _video(self, composition: Composition) -> Video:
        located = [self._located(clip) for clip in composition.clips]
        ends = np.cumsum([clip.frames for clip in located]).tolist()
        rates = {clip.length.fps for clip in located}
        return Video(
            id=composition.id,
            split=composition.split,
            label=composition.label,
            frames=ends[-1],
            fps=rates.pop() if len(rates) == 1 else None,
            size=SIZE,
            cuts=tuple(ends[:-1]),
        )


def _some(ids: Sequence[str]) -> str:
    """The first ids of many, and their number."""
    return f"{len(ids)} clip{'s' if len(ids) > 1 else ''} ({', '.join(ids[:5])}{', ...' if len(ids) > 5 else ''})"
