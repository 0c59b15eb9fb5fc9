"""Stretching pictures that are in memory."""

import numpy as np


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Stretch uint8 RGB (h, w, 3) to `size` (width, height).

    Our choice: Pillow's bilinear filter, which averages where it shrinks and interpolates where it enlarges, and is the
    same integer arithmetic on every machine.
    """
    if picture.shape[1::-1] == tuple(size):
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
