"""How a feature pack is laid out, found over all of its files together, from their names and headers alone.

Nothing is guessed from one file: a video of 10 snippets in 10 crops reads both ways. What the whole pack leaves
ambiguous is refused.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from vad.benchmarks import Benchmark
from vad.errors import ConfigError, DataError
from vad.extract import pack_files, pack_lengths, pack_names
from vad.extract.pack_files import PackFile
from vad.extract.pack_lengths import Known
from vad.types import Split, Video

# What the axes before the last one are; of `time` each file is one crop. In `segments32` they may stand in any order,
# but there are 32 rows, each an equal share of the video.
Layout = Literal["time", "time-crop", "crop-time", "segments32"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
SEGMENTS = 32
NO_FILE = "the feature pack has no file of it"
CROPS = (1, 5, 10)  # usual numbers: another one has to be declared, by a layout


@dataclass(frozen=True)
class PackedVideo:
    """One video of a pack, with its files in the order of its crops."""

    video: Video
    files: tuple[PackFile, ...]
    rows: int
    known: Known


@dataclass(frozen=True)
class Pack:
    """What was found, before anything is imported."""

    videos: tuple[PackedVideo, ...]
    layout: Layout
    crop_axis: int | None  # of an array in a file, 0 or 1; None where each file is one crop
    width: int  # of a vector in a file
    dim: int  # without the norm
    crops: Mapping[Split, int]
    skipped: Mapping[Video, str]  # with the reason
    unknown: tuple[Path, ...]  # files that belong to no video of the benchmark
    words: tuple[str, ...]  # what was found, a sentence each

    @property
    def has_norm(self) -> bool:
        """Whether the last channel is the L2 norm of the others, which MGFN appends: it is not imported."""
        return self.dim < self.width


def find(
    benchmark: Benchmark,
    sources: Sequence[Path],
    *,
    splits: Sequence[Split] | None = None,
    layout: Layout | None = None,
    snippet: int = 16,
    trust_lengths: bool = False,
    skip_broken: bool = False,
) -> Pack:
    """Match the files below some folders with the videos of a benchmark, and find how they are laid out.

    Args:
        benchmark: Its sources are what a pack has features of.
        sources: Folders, searched at any depth.
        splits: Splits whose videos must be there; all by default.
        layout: Declared where the files leave it ambiguous; else found.
        snippet: Frames that a row covers.
        trust_lengths: Take numbers of rows that no rule explains.
        skip_broken: Leave out videos without files or with broken ones; else the first is a `DataError`.

    Raises `DataError` for whatever does not fit together.
    """
    if layout not in (None, *LAYOUTS):
        raise ConfigError(f"--layout: expected one of {', '.join(LAYOUTS)}, got '{layout}'")
    for split in splits or ():
        benchmark.has(split)
    every = {video.id: video for split in benchmark.splits for video in _of(benchmark, split, splits)}
    wanted = {id: video for id, video in every.items() if video.split in (splits or benchmark.splits)}
    named, unknown = pack_names.match(pack_files.below(sources), every)
    where = " and ".join(map(str, sources))
    if not any(name.id in wanted for name in named):
        raise _nothing(benchmark, where, unknown, next(iter(wanted)))
    by_video = pack_names.in_crop_order([name for name in named if name.id in wanted])
    skipped = _missing(wanted, by_video, unknown, where, skip=skip_broken)
    files, broken = _inspected(by_video, skip=skip_broken)
    skipped |= {wanted[id]: reason for id, reason in broken.items()}
    videos = [video for id, video in wanted.items() if id in files]
    if not videos:
        raise DataError(f"no video could be read, the first for this reason: {next(iter(skipped.values()))}")
    by_video = {video.id: by_video[video.id] for video in videos}
    _same_numbers(by_video, every)
    width = _one_width(files)
    found, axis = _layout(videos, files, layout)
    packed = [_packed(video, files[video.id], axis, pack_lengths.known(benchmark, video)) for video in videos]
    crops = _crops(packed, axis)
    lengths = _lengths(packed, found, snippet, trust=trust_lengths, declared=layout is not None)
    dim = width - pack_files.ends_in_norm(packed[0].files[0])
    pack = Pack(tuple(packed), found, axis, width, dim, crops, skipped, tuple(unknown), ())
    return Pack(**{**vars(pack), "words": (*_words(pack, by_video, where), lengths)})


def _of(benchmark: Benchmark, split: Split, wanted: Sequence[Split] | None) -> list[Video]:
    """The sources of a split; one that was not asked for need not exist."""
    try:
        return benchmark.sources(split)
    except DataError:
        if wanted is None or split in wanted:
            raise
        return []


def _nothing(benchmark: Benchmark, where: str, unknown: Sequence[Path], id: str) -> DataError:
    read = ", ".join(pack_files.READ)
    archive = next((path for path in unknown if path.suffix in pack_files.REFUSED), None)
    if archive is not None and not any(path.suffix in pack_files.READ for path in unknown):
        return pack_files.refuse(archive)
    found = f"the first of {len(unknown)} files is {unknown[0].name}" if unknown else f"there is no file of {read}"
    return DataError(
        f"{where}: no file has the name of a video of {benchmark.name}, such as {id}.npy or {id}__0.npy; {found}"
    )


def _missing(
    wanted: Mapping[str, Video], found: Collection[str], unknown: Sequence[Path], where: str, *, skip: bool
) -> dict[Video, str]:
    missing = [video for id, video in wanted.items() if id not in found]
    if missing and not skip:
        first = missing[0]
        like = pack_names.near(first.id, unknown)
        splits = dict.fromkeys(video.split for video in missing)
        advice = f"; is {like.name} it? Rename it" if like is not None else "; --on_broken skip leaves them out"
        if set(splits) != {video.split for video in wanted.values()}:
            advice += f", or give the --splits that the pack has, without {' and '.join(splits)}"
        raise DataError(
            f"{len(missing):,} of {len(wanted):,} videos have no file below {where}, the first is {first.id} of "
            f"{first.split}{advice}"
        )
    return dict.fromkeys(missing, NO_FILE)


def _inspected(
    by_video: Mapping[str, Sequence[pack_names.Named]], *, skip: bool
) -> tuple[dict[str, tuple[PackFile, ...]], dict[str, str]]:
    files: dict[str, tuple[PackFile, ...]] = {}
    broken: dict[str, str] = {}
    for id, names in by_video.items():
        try:
            files[id] = tuple(pack_files.inspect(name.path) for name in names)
        except DataError as error:
            if not skip:
                raise
            broken[id] = str(error)
    return files, broken


def _same_numbers(by_video: Mapping[str, Sequence[pack_names.Named]], videos: Mapping[str, Video]) -> None:
    """Every video of a split has files of the same crops."""
    numbers = {id: tuple(name.crop or 0 for name in names) for id, names in by_video.items()}
    for split in {videos[id].split for id in numbers}:
        of_split = {id: crops for id, crops in numbers.items() if videos[id].split == split}
        usual = Counter(of_split.values()).most_common(1)[0][0]
        for id, crops in of_split.items():
            if crops != usual:
                raise DataError(
                    f"{id} has files of the crops {_listed(crops)}, other videos of {split} have {_listed(usual)}: "
                    f"{by_video[id][0].path}"
                )


def _one_width(files: Mapping[str, Sequence[PackFile]]) -> int:
    """The width of every vector, the last axis; all files have as many axes."""
    every = [file for of_video in files.values() for file in of_video]
    usual = Counter((len(file.shape), *file.shape[-1:]) for file in every).most_common(1)[0][0]
    for file in every:
        found = f"{file.path}: has the shape {file.shape}"
        if (len(file.shape), *file.shape[-1:]) != usual:
            raise DataError(f"{found}, but most files have {usual[0]} axes and vectors of {usual[-1]:,}")
        if len(file.shape) not in (2, 3):
            raise DataError(f"{found}; expected (T, D), (T, C, D) or (C, T, D) for T snippets and C crops")
        if 0 in file.shape:
            raise DataError(f"{found}: it holds no rows")
    return usual[-1]


def _layout(
    videos: Sequence[Video], files: Mapping[str, Sequence[PackFile]], declared: Layout | None
) -> tuple[Layout, int | None]:
    """The layout, and which axis of a file's array is the crops."""
    every = [(video.split, file) for video in videos for file in files[video.id]]
    first = every[0][1]
    rows = {file.shape[0] for _, file in every}
    if len(first.shape) == 2:
        if declared not in (None, "time", "segments32"):
            raise ConfigError(f"--layout {declared}: {first.path} has two axes only, {first.shape}")
        texts = all(file.is_text for _, file in every)
        layout = declared or ("segments32" if texts and rows == {SEGMENTS} else "time")
        if layout == "segments32" and rows != {SEGMENTS}:
            odd = next(file for _, file in every if file.shape[0] != SEGMENTS)
            raise DataError(f"{odd.path}: has {odd.shape[0]} rows; --layout segments32 expects 32")
        return layout, None
    if any(len(files[video.id]) > 1 for video in videos):
        raise DataError(
            f"{first.path}: has the shape {first.shape}, but each crop has a file of its own: expected (T, D)"
        )
    if declared == "time":
        raise ConfigError(f"--layout time: {first.path} has three axes, {first.shape}; give time-crop or crop-time")
    if declared == "segments32":
        axes = {1 - axis for axis in (0, 1) if all(file.shape[axis] == SEGMENTS for _, file in every)}
        if len(axes) != 1:
            raise DataError(f"{first.path}: has the shape {first.shape}; --layout segments32 expects one axis of 32")
        return declared, axes.pop()
    if declared is not None:
        return declared, 1 if declared == "time-crop" else 0
    axes = {0, 1}
    for split in {split for split, _ in every}:
        axes &= _crop_axes([file.shape for of, file in every if of == split])
    if len(axes) != 1:
        why = "both axes may be the crops" if axes else f"no axis has {', '.join(map(str, CROPS))} crops throughout"
        raise DataError(
            f"{first.path}: has the shape {first.shape}, and over all {len(every):,} files {why}: give --layout "
            "time-crop for (T, C, D) or crop-time for (C, T, D)"
        )
    axis = axes.pop()
    return ("crop-time", "time-crop")[axis], axis


def _crop_axes(shapes: Sequence[tuple[int, ...]]) -> set[int]:
    """The axes that may be the crops: alike in every file; else in most, so that the others can be refused by name."""
    usual = [Counter(shape[axis] for shape in shapes).most_common(1)[0] for axis in (0, 1)]
    shares = {axis: times / len(shapes) for axis, (count, times) in enumerate(usual) if count in CROPS}
    return {axis for axis, share in shares.items() if share == 1} or {a for a, share in shares.items() if share > 0.5}


def _packed(video: Video, files: tuple[PackFile, ...], axis: int | None, known: Known) -> PackedVideo:
    rows = [file.shape[0 if axis is None else 1 - axis] for file in files]
    for file, count in zip(files, rows, strict=True):
        if count != rows[0]:
            raise DataError(f"{file.path}: has {count} rows, but {files[0].path.name}, another crop, has {rows[0]}")
    return PackedVideo(video, files, rows[0], known)


def _crops(videos: Sequence[PackedVideo], axis: int | None) -> dict[Split, int]:
    """Crops of a video in each split."""
    numbers: dict[Split, int] = {}
    for split in dict.fromkeys(packed.video.split for packed in videos):
        of_split = [packed for packed in videos if packed.video.split == split]
        counts = [len(packed.files) if axis is None else packed.files[0].shape[axis] for packed in of_split]
        numbers[split] = Counter(counts).most_common(1)[0][0]
        for packed, count in zip(of_split, counts, strict=True):
            if count != numbers[split]:
                file = packed.files[0]
                raise DataError(
                    f"{file.path}: has {count} crops, its shape is {file.shape}; other videos of {split} have "
                    f"{numbers[split]}"
                )
    return numbers


def _lengths(videos: Sequence[PackedVideo], layout: Layout, snippet: int, *, trust: bool, declared: bool) -> str:
    """What the rows are of the videos, in words; raises `DataError` where they cannot be."""
    rows = {packed.video.id: packed.rows for packed in videos}
    lengths = {packed.video.id: packed.known for packed in videos}
    if layout != "segments32":
        if set(rows.values()) == {SEGMENTS} and not declared and not any(map(any, lengths.values())):
            raise DataError(
                f"every file has {SEGMENTS} rows and no length of a video is known: give --layout segments32 if these "
                "are segments of whole videos, or the layout of snippets"
            )
        return pack_lengths.explain(rows, lengths, snippet, trust=trust)
    for id, known in lengths.items():
        if known.frames is None or known.frames < SEGMENTS:
            raise DataError(
                f"{id}: to lay {SEGMENTS} segments over a video its length must be known and at least {SEGMENTS} "
                f"frames, got {known.frames}"
            )
    return f"rows: {SEGMENTS} in every video, each an equal share of it"


def _words(pack: Pack, names: Mapping[str, Sequence[pack_names.Named]], where: str) -> list[str]:
    """What was found, but for the lengths."""
    counts = Counter(packed.video.split for packed in pack.videos)
    videos = " and ".join(f"{count:,} of {split}" for split, count in counts.items())
    files = sum(len(packed.files) for packed in pack.videos)
    named = next(iter(names.values()))
    kinds = dict.fromkeys(file.path.suffix for packed in pack.videos for file in packed.files)
    words = [f"{where}: {files:,} files belong to {sum(counts.values()):,} videos, {videos}"]
    if len(named) > 1:
        mark = named[-1].mark
        bare = "; the centre has no number" if any(of[0].crop is None for of in names.values()) else ""
        words.append(f"names: <video>{named[0].tag}{mark}<crop>{' or '.join(kinds)}{bare}")
    else:
        number = f"{named[0].mark}{'' if named[0].crop is None else named[0].crop}"
        words.append(f"names: <video>{named[0].tag}{number}{' or '.join(kinds)}")
    axes = {None: "(T, D), a file for each crop", 0: "(C, T, D)", 1: "(T, C, D)"}[pack.crop_axis]
    crops = " and ".join(f"{count} in {split}" for split, count in pack.crops.items())
    words.append(f"arrays: {axes}, crops {crops}, D = {pack.width:,}")
    if pack.has_norm:
        words.append(f"the last channel is the norm of the other {pack.dim:,} (MGFN): it is left out")
    if pack.unknown:
        words.append(
            f"{len(pack.unknown):,} files belong to no video and are left aside, such as {pack.unknown[0].name}"
        )
    if pack.skipped:
        video, reason = next(iter(pack.skipped.items()))
        words.append(f"{len(pack.skipped):,} videos are skipped, the first is {video.id}: {reason}")
    return words


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
