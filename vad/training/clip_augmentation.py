"""Augmentation of clips on the device, batched: pieces that follow what moves, colours, blur, masks, flips.

    uint8 (B, T, H, W, 3) -> pieces uint8 (B, T, h, w, 3) -> float (B, 3, T, h, w) in [0, 1] -> augmented

Everything is drawn once for a clip: what differs between frames would tell them apart. Random numbers are torch's own,
which `vad.training.randomness.StepSeed` sets for every step.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

CELL = 8  # pixels between neighbouring places of a piece
GREY = (0.299, 0.587, 0.114)


class Pieces(NamedTuple):
    """Pieces of clips, and how much moves in them."""

    clips: Tensor  # uint8 (B, T, h, w, 3)
    motion: Tensor  # float32 (B,): see `motion_map`, averaged over the piece


def motion_map(clips: Tensor) -> Tensor:
    """How much each cell changes over a clip, float32 (B, H / 8, W / 8), in [0, 1], of uint8 (B, T, H, W, 3).

    The deviation over time of grey cells, less the median cell's: noise and light are everywhere. No order of the
    frames changes it, so that it tells nothing of a clip's class.
    """
    grey = torch.tensor(GREY, device=clips.device) / 255
    cells = functional.avg_pool2d((clips.float() @ grey).flatten(0, 1)[:, None], CELL)
    deviation = rearrange(cells, "(b t) 1 h w -> b t h w", b=len(clips)).std(1, correction=0)
    return (deviation - deviation.flatten(1).median(1).values[:, None, None]).clamp(min=0)


def pieces(clips: Tensor, size: tuple[int, int], *, at_random: bool) -> Pieces:
    """A piece of each clip where something moves: drawn in proportion to the squared motion, or where there is most.

    Args:
        clips: uint8 (B, T, H, W, 3).
        size: Width and height of a piece, at most those of the clips.
        at_random: Whether places are drawn.
    """
    batch, time, height, width, _ = clips.shape
    w, h = min(size[0], width), min(size[1], height)
    window = (max(1, min(h, height) // CELL), max(1, min(w, width) // CELL))
    moving = functional.avg_pool2d(motion_map(clips)[:, None], window, stride=1)[:, 0]  # (B, rows, columns)
    flat = moving.flatten(1)
    if at_random:
        place = torch.multinomial(flat.square() + 1e-9, 1)[:, 0]
        jitter = torch.randint(-CELL // 2, CELL // 2 + 1, (2, batch), device=clips.device)
    else:
        place, jitter = flat.argmax(1), torch.zeros(2, batch, dtype=torch.int64, device=clips.device)
    top = (place // moving.shape[2] * CELL + jitter[0]).clamp(0, height - h)
    left = (place % moving.shape[2] * CELL + jitter[1]).clamp(0, width - w)
    rows = top[:, None] + torch.arange(h, device=clips.device)
    columns = left[:, None] + torch.arange(w, device=clips.device)
    index = torch.arange(batch, device=clips.device)[:, None, None, None]
    frames = torch.arange(time, device=clips.device)[None, :, None, None]
    cut = clips[index, frames, rows[:, None, :, None], columns[:, None, None, :]]
    return Pieces(cut, flat.gather(1, place[:, None])[:, 0])


def as_float(clips: Tensor) -> Tensor:
    """uint8 (B, T, H, W, 3) to float32 (B, 3, T, H, W) in [0, 1], channels last in memory."""
    return clips.to(torch.float32, memory_format=torch.contiguous_format).div_(255).movedim(-1, 1)


def augmented(
    x: Tensor, *, jitter: float = 0.4, blur: float = 1.0, mask: float = 0.5, band: float = 0.12, flip: bool = True
) -> Tensor:
    """Clips float (B, 3, T, H, W) in [0, 1] with other colours, blurred, masked and mirrored, each at random.

    Args:
        jitter: Brightness, contrast and saturation change by up to this share, in four of five clips.
        blur: Greatest deviation of a Gaussian, in pixels, which hides a codec's traces.
        mask: Share of the clips whose bands are masked by the clip's mean: clocks stand at the top or the bottom.
        band: Height of either band, as a share.
        flip: Mirror half of the clips, left and right: gravity is a cue.
    """
    batch, device = len(x), x.device

    def drawn(low: float, high: float) -> Tensor:
        return torch.empty(batch, 1, 1, 1, 1, device=device).uniform_(low, high)

    if jitter:
        some = drawn(0, 1) < 0.8
        factor = [torch.where(some, drawn(1 - jitter, 1 + jitter), 1.0) for _ in range(3)]
        mean = x.mean((1, 2, 3, 4), keepdim=True)
        x = (x - mean) * factor[1] + mean * factor[0]
        x = torch.lerp(x.mean(1, keepdim=True), x, factor[2]).clamp(0, 1)
    if blur:
        x = blurred(x, drawn(0, blur).flatten())
    if mask:
        rows = torch.linspace(0, 1, x.shape[3], device=device)
        outer = ((rows < band) | (rows > 1 - band))[None, None, None, :, None]
        x = torch.where(outer & (drawn(0, 1) < mask), x.mean((1, 2, 3, 4), keepdim=True), x)
    if flip:
        x = torch.where(drawn(0, 1) < 0.5, x.flip(4), x)
    return x


def blurred(x: Tensor, deviation: Tensor) -> Tensor:
    """Gaussian of 3 x 3 pixels with a deviation (B,) for each clip (B, C, T, H, W)."""
    weight = torch.exp(-0.5 / deviation.clamp(min=1e-3).square())  # of a neighbour
    weight = (weight / (1 + 2 * weight))[:, None, None, None, None]
    for axis in (3, 4):
        padded = torch.cat([x.narrow(axis, 0, 1), x, x.narrow(axis, x.shape[axis] - 1, 1)], axis)
        size = x.shape[axis]
        x = x * (1 - 2 * weight) + (padded.narrow(axis, 0, size) + padded.narrow(axis, 2, size)) * weight
    return x
