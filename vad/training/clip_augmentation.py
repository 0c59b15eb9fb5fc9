"""Augmentation of clips on the device, batched: pieces that follow what moves, mirrored, recoloured, blurred, masked.

    uint8 (B, T, H, W, 3) -> pieces uint8 (B, T, h, w, 3) -> float32 (B, 3, T, h, w), normalised

Everything is drawn once for a clip: what differs between frames would tell them apart. Random numbers are torch's own,
which `vad.training.randomness.StepSeed` sets for every step.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

CELL = 8  # pixels between neighbouring places of a piece


class Pieces(NamedTuple):
    """Pieces of clips, and how much moves in them."""

    clips: Tensor  # uint8 (B, T, h, w, 3)
    motion: Tensor  # float32 (B,): the piece's mean of `motion_map`


def motion_map(clips: Tensor) -> Tensor:
    """How much each cell changes over a clip, float32 (B, H / 8, W / 8), in [0, 1], of uint8 (B, T, H, W, 3).

    The deviation over time of a cell's mean green, less the median cell's: noise and light are everywhere. No order of
    the frames changes it. Every other row and column will do.
    """
    green = clips[:, :, ::2, ::2, 1].contiguous()
    cells = functional.avg_pool2d(green.flatten(0, 1)[:, None].float(), CELL // 2)
    cells = cells.view(*clips.shape[:2], *cells.shape[2:])
    deviation = (cells - cells.mean(1, keepdim=True)).square().mean(1).sqrt() / 255
    return (deviation - deviation.flatten(1).median(1).values[:, None, None]).clamp(min=0)


def pieces(clips: Tensor, size: tuple[int, int], *, early: Tensor, at_random: bool, flip: bool = False) -> Pieces:
    """A piece of each clip where something moves: drawn in proportion to the squared motion, or where there is most.

    Args:
        clips: uint8 (B, T, H, W, 3).
        size: Width and height of a piece, at most those of the clips.
        early: bool (B,), clips of which the motion of the first quarter alone counts: where a clip changes afterwards,
            something moves everywhere, and where its piece lies would tell.
        at_random: Whether places are drawn.
        flip: Mirror half of the pieces, left and right.
    """
    batch, time, height, width, _ = clips.shape
    device = clips.device
    w, h = min(size[0], width), min(size[1], height)
    window = (max(1, h // CELL), max(1, w // CELL))
    motion = motion_map(clips[:, ::2])
    motion[early] = motion_map(clips[early, : time // 4])
    moving = functional.avg_pool2d(motion[:, None], window, stride=1)[:, 0]  # (B, rows, columns)
    flat = moving.flatten(1)
    if at_random:
        place = torch.multinomial(flat.square() + 1e-9, 1)[:, 0]
        jitter = torch.randint(-CELL // 2, CELL // 2 + 1, (2, batch), device=device)
    else:
        place, jitter = flat.argmax(1), torch.zeros(2, batch, dtype=torch.int64, device=device)
    top = (place // moving.shape[2] * CELL + jitter[0]).clamp(0, height - h)
    left = (place % moving.shape[2] * CELL + jitter[1]).clamp(0, width - w)
    rows = top[:, None] + torch.arange(h, device=device)
    columns = left[:, None] + torch.arange(w, device=device)
    if flip:
        columns = torch.where(torch.rand(batch, 1, device=device) < 0.5, columns.flip(1), columns)
    clip = torch.arange(batch, device=device)[:, None, None, None]
    frame = torch.arange(time, device=device)[None, :, None, None]
    cut = clips[clip, frame, rows[:, None, :, None], columns[:, None, None, :]]
    return Pieces(cut, flat.gather(1, place[:, None])[:, 0])


class Colours(NamedTuple):
    """A linear change of the colours of each clip: pixel -> pixel @ matrix + shift."""

    matrix: Tensor  # float32 (B, 3, 3)
    shift: Tensor  # float32 (B, 1, 3)


def normalising(batch: int, mean: Tensor, std: Tensor) -> Colours:
    """From 0 ... 255 to (x / 255 - mean) / std; `mean` and `std` are (3,)."""
    matrix = torch.diag(1 / (255 * std)).expand(batch, 3, 3)
    return Colours(matrix, (-mean / std).expand(batch, 1, 3))


def jittered(clips: Tensor, jitter: float, mean: Tensor, std: Tensor) -> Colours:
    """As `normalising`, after brightness, contrast and saturation of four in five clips changed by up to `jitter`."""
    batch, device = len(clips), clips.device
    some = torch.rand(batch, 1, 1, device=device) < 0.8
    brightness, contrast, saturation = (
        torch.where(some, torch.empty(batch, 1, 1, device=device).uniform_(1 - jitter, 1 + jitter), 1.0)
        for _ in range(3)
    )
    grey = torch.full((3, 3), 1 / 3, device=device)
    mixing = torch.lerp(grey, torch.eye(3, device=device), saturation) * contrast * brightness
    level = clips[:, ::4, ::4, ::4].float().mean((1, 2, 3, 4)).view(-1, 1, 1)
    base = normalising(batch, mean, std)
    shift = level * (1 - contrast) * brightness
    return Colours(mixing @ base.matrix, shift.expand(-1, 1, 3) @ base.matrix + base.shift)


def recoloured(clips: Tensor, colours: Colours) -> Tensor:
    """uint8 (B, T, H, W, 3) to float (B, 3, T, H, W), channels last in memory."""
    pixels = torch.baddbmm(colours.shift, clips.flatten(1, 3).float(), colours.matrix)
    return pixels.view(clips.shape).movedim(-1, 1)


def blurred(x: Tensor, strength: Tensor) -> Tensor:
    """Mixed with the mean of 3 x 3 pixels, by a share (B,) for each clip (B, C, T, H, W): it hides a codec's traces."""
    frames = rearrange(x, "b c t h w -> (b t) c h w")
    smooth = functional.avg_pool2d(frames, 3, stride=1, padding=1, count_include_pad=False)
    share = strength.to(x.dtype).repeat_interleave(x.shape[2]).view(-1, 1, 1, 1)
    return rearrange(torch.lerp(frames, smooth, share), "(b t) c h w -> b c t h w", b=len(x))


def masked(x: Tensor, share: float, band: float = 0.12) -> Tensor:
    """Bands at the top and the bottom of a share of the clips set to the mean colour, 0: clocks stand there."""
    rows = max(1, round(band * x.shape[3]))
    kept = (torch.rand(len(x), 1, 1, 1, 1, device=x.device) >= share).to(x.dtype)
    x[..., :rows, :] *= kept
    x[..., -rows:, :] *= kept
    return x
