"""The objects of the Ped2 experiment cover what is abnormal, and little else: an exam of detector, flow and rules."""

import os
from pathlib import Path

import numpy as np
import pytest

from vad import cache
from vad.benchmarks import UCSDPed2
from vad.extract.crops import CropRecipe, choose
from vad.extract.detectors import YOLOX
from vad.extract.launch import extract
from vad.extract.motion import OpticalFlow
from vad.extract.objects import ObjectRecipe
from vad.types import Objects

REAL_CACHE = os.environ.get("VAD_CACHE")  # of the person who starts the tests: what was extracted there is not again


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_boxes_cover_the_abnormal_pixels_and_not_the_whole_image(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if REAL_CACHE is not None:
        monkeypatch.setenv("VAD_CACHE", REAL_CACHE)
    if not (real_data / "weights" / "yolox_nano.onnx").is_file():
        pytest.skip("needs the weights yolox_nano.onnx in $VAD_DATA/weights")
    benchmark = UCSDPed2(str(real_data / "ucsd_ped"))
    recipe = ObjectRecipe(detector=YOLOX(weights="yolox_nano", enlarge=2), motion=OpticalFlow())
    videos = benchmark.videos("test")
    extract([recipe], benchmark, videos)

    abnormal, hit, image, boxes, cubes, empty = 0, 0, [], [], 0, 0
    for video in videos:
        masks = benchmark.truth(video).masks
        assert masks is not None and video.frames is not None and video.size is not None
        entry = cache.entry(benchmark.dataset, recipe, video.id)
        objects = choose(Objects(**{name: entry.read(name) for name in Objects.ARRAYS}), CropRecipe(recipe))
        cubes += len(objects)
        for frame in range(video.frames):
            union = np.zeros(video.size[::-1], bool)
            found = np.ceil(objects.box[objects.frame == frame]).astype(int)
            for x1, y1, x2, y2 in found:
                union[y1:y2, x1:x2] = True
            mask = masks(frame)
            if mask.any():
                abnormal += 1
                hit += (union & mask).sum() > 0.5 * mask.sum()
            image.append(union.mean())
            boxes.append(len(found))
            empty += not len(found)
    print(
        f"abnormal frames hit {hit} of {abnormal}, share of the image {np.mean(image):.4f}, "
        f"boxes a frame {np.mean(boxes):.2f}, cubes {cubes}, empty frames {empty}"
    )
    assert abnormal == 1648
    assert hit >= 1640
    assert np.mean(image) <= 0.13
    assert np.mean(boxes) <= 22
