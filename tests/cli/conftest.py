"""A tree like UCSD Ped2's, small enough to go through all stages in seconds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_ped_tree(root: Path, *, train: int = 2, test: int = 2, frames: int = 14) -> Path:
    """Clips of 48 x 32 in which bright squares walk; in test clips one of them runs, from the middle on, and is masked."""
    random = np.random.default_rng(0)
    for split, count in (("Train", train), ("Test", test)):
        for clip in range(1, count + 1):
            folder = root / "UCSDped2" / split / f"{split}{clip:03d}"
            folder.mkdir(parents=True)
            masks = folder.with_name(folder.name + "_gt")
            ground = random.integers(60, 80, (32, 48), dtype=np.uint8)
            for frame in range(frames):
                picture, mask = ground.copy(), np.zeros((32, 48), np.uint8)
                left = 2 + frame
                picture[4:16, left : left + 10] = 220
                running = frame >= frames // 2
                if split == "Test" and running:
                    left = 2 + 4 * (frame - frames // 2)
                    picture[18:30, left : left + 12] = 250
                    mask[18:30, left : left + 12] = 255
                Image.fromarray(picture).save(folder / f"{frame + 1:03d}.tif")
                if split == "Test":
                    masks.mkdir(exist_ok=True)
                    Image.fromarray(mask).save(masks / f"{frame + 1:03d}.bmp")
    return root


@pytest.fixture
def ped_tree(tmp_path: Path) -> Path:
    """`$VAD_DATA` with the small tree."""
    return write_ped_tree(tmp_path / "data" / "ucsd_ped").parent
