"""Figures of boxes: RBDC, TBDC and pixel-level AUROC, on the real frames of the videos."""

import numpy as np

from vad.errors import ScoresError
from vad.evaluation.alignment import Aligned
from vad.evaluation.figures import Figure
from vad.metrics import bootstrap, frame, pixel, region_track


def box_figures(test: Aligned, weights: np.ndarray | None) -> dict[str, Figure]:
    """`rbdc` and `tbdc` (`_derived` where regions were derived from masks) and `pixel_auroc`, where they apply.

    They apply to scores of objects: the first two where every abnormal video has regions, the last where any has masks.
    `weights` are draws over videos (videos, draws).
    """
    if test.record.kind != "objects":
        return {}
    for video, truth, scored in zip(test.videos, test.truths, test.record.videos, strict=True):
        if scored.frames != len(truth.frames):
            raise ScoresError(f"{video.id}: boxes are given for {scored.frames} of {len(truth.frames)} frames")
    found = {**_region_figures(test, weights), **_pixel_figures(test, weights)}
    return {name: figure for name, figure in found.items() if np.isfinite(figure.value)}


def _region_figures(test: Aligned, weights: np.ndarray | None) -> dict[str, Figure]:
    if any(truth.regions is None and truth.frames.any() for truth in test.truths):
        return {}
    regions = [truth.regions for truth in test.truths]
    lengths = np.array([len(truth.frames) for truth in test.truths])
    starts = np.cumsum(lengths) - lengths
    known = [(video, region) for video, region in enumerate(regions) if region is not None and len(region)]
    if not known:
        return {}
    record = test.record
    assert record.frame is not None and record.box is not None
    unit = np.repeat(np.arange(len(lengths)), np.diff(record.offsets))
    region_unit = np.repeat([video for video, _ in known], [len(region) for _, region in known])
    track = np.concatenate([region.track for _, region in known]).astype(np.int64)
    # Track numbers start anew in each video.
    track = np.unique(np.stack([region_unit, track], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    found = region_track.find(
        frame=starts[unit] + record.frame,
        box=record.box,
        score=test.score,
        region_frame=starts[region_unit] + np.concatenate([region.frame for _, region in known]),
        region_box=np.concatenate([region.box for _, region in known]),
        region_track=track,
        unit=unit,
        region_unit=region_unit,
    )
    value = region_track.criteria(found, int(lengths.sum()))
    samples = (None, None) if weights is None else region_track.draws(found, lengths, weights)
    suffix = "_derived" if any(region.derived for _, region in known) else ""
    return {
        f"rbdc{suffix}": Figure(value.rbdc, samples[0]),
        f"tbdc{suffix}": Figure(value.tbdc, samples[1]),
    }


def _pixel_figures(test: Aligned, weights: np.ndarray | None) -> dict[str, Figure]:
    """Over the videos with masks and those without an abnormal frame; UCSD Ped1's official masks cover only some."""
    record = test.record
    assert record.frame is not None and record.box is not None
    labels, numbers, units = [], [], []
    for index, truth in enumerate(test.truths):
        if truth.masks is None and truth.frames.any():
            continue
        rows = slice(int(record.offsets[index]), int(record.offsets[index + 1]))
        at, box, score = record.frame[rows], record.box[rows], test.score[rows]
        number = np.full(len(truth.frames), -np.inf)
        np.maximum.at(number, at, score)
        label = np.zeros(len(truth.frames), dtype=bool)
        order = np.argsort(at, kind="stable")
        ends = np.searchsorted(at[order], np.arange(len(truth.frames) + 1))
        for moment in np.flatnonzero(truth.frames) if truth.masks is not None else ():
            mask = np.asarray(truth.masks(int(moment)), dtype=bool) if truth.masks is not None else None
            if mask is not None and mask.any():  # a frame that is abnormal has abnormal pixels
                here = order[ends[moment] : ends[moment + 1]]
                label[moment], number[moment] = True, pixel.found_at(mask, box[here], score[here])
        labels.append(label)
        numbers.append(number)
        units.append(np.full(len(label), index))
    if not any(truth.masks is not None for truth in test.truths) or not labels:
        return {}
    label, number = np.concatenate(labels), np.concatenate(numbers)
    value = frame.auroc(label, number)
    if weights is None or not np.isfinite(value):
        return {"pixel_auroc": Figure(value)}
    bins = bootstrap.RankBins.of(number, np.concatenate(units), len(test.videos))
    (samples,) = bootstrap.draw_metrics(bins.table(label), bins.table(~label), weights, frame.auroc_of_counts)
    return {"pixel_auroc": Figure(value, samples)}
