"""What can be wrong with a tree of UCSD clips, each thing in one sentence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vad.benchmarks.frame_folders import image_fault, image_size, in_words, missing_numbers, read_mask
from vad.benchmarks.ucsd_tree import Clip, Tree, contradiction, listed_labels, mask_problem, numbering_problem
from vad.errors import DataError
from vad.types import Split


def missing_clips(tree: Tree, split: Split, published: int) -> list[str]:
    """Clips of the published numbers that the tree lacks."""
    present = {clip.number for clip in tree.clips.values() if clip.split == split}
    missing = sorted(set(range(1, published + 1)) - present)
    return [f"{split}: clip {in_words(missing)} of {published} is missing"] if missing else []


def clip_problems(clip: Clip, lengths: Sequence[int]) -> list[str]:
    """What is wrong with one clip: gaps, missing masks, its length, damaged images, sizes that differ."""
    problem = numbering_problem(clip) or mask_problem(clip)  # a missing frame leaves its mask behind
    problems = [problem] if problem else []
    frames, missing = len(clip.images), len(missing_numbers(clip.images))
    if clip.number > len(lengths):
        problems.append(f"{clip.id} is not published: there are {len(lengths)} clips, remove {clip.folder}")
    elif frames + missing != lengths[clip.number - 1]:
        problems.append(f"{clip.id} has {frames} frames, {lengths[clip.number - 1]} are published ({clip.folder})")
    size = _first_size(clip)
    for path in clip.images.values():
        fault = image_fault(path, size)
        if fault:
            problems.append(fault)
    return problems


def missing_masks(tree: Tree, masked: Sequence[int]) -> tuple[list[str], list[str]]:
    """Problems and notes about clips without masks: re-packed trees have none at all."""
    tests = [clip for clip in tree.clips.values() if clip.split == "test"]
    unmasked = [clip.number for clip in tests if clip.masks is None and clip.number in masked]
    if not unmasked:
        return [], []
    if not any(clip.masks for clip in tests):
        return [], ["there are no masks in this tree, so no pixel_auroc, rbdc_derived and tbdc_derived"]
    return [f"test: clip {in_words(unmasked)} has no folder of masks, though the archive has one"], []


def checked_labels(tree: Tree, path: Path | None, clip: Clip) -> tuple[np.ndarray | None, list[str]]:
    """The labels of a test clip as far as they are known, and what is wrong with them or with its masks."""
    marked, problems = _marked(clip)
    if path is None or missing_numbers(clip.images):  # a clip with gaps has no labels until it is complete
        return marked, problems
    try:
        labels = listed_labels(path, tree, clip)
    except DataError as error:
        return None, [*problems, str(error)]
    problem = None if marked is None else contradiction(clip, labels, marked)
    return labels, [*problems, f"{path}: {problem}"] if problem else problems


def _marked(clip: Clip) -> tuple[np.ndarray | None, list[str]]:
    """Whether each frame's mask marks anything, uint8 (n,), where there is a whole one for each; and damaged masks."""
    marked, problems = [], []
    size = _first_size(clip)
    for path in (clip.masks or {}).values():
        try:
            mask = read_mask(path)
        except DataError as error:
            problems.append(str(error))
            continue
        marked.append(mask.any())
        if size is not None and mask.shape != size[::-1]:
            problems.append(
                f"{path}: is {mask.shape[1]} x {mask.shape[0]}, but the clip's first frame {size[0]} x {size[1]}"
            )
    if clip.masks is None or mask_problem(clip) or problems:
        return None, problems
    return np.array(marked, np.uint8), []


def _first_size(clip: Clip) -> tuple[int, int] | None:
    for path in clip.images.values():
        try:
            return image_size(path)
        except DataError:
            continue
    return None
