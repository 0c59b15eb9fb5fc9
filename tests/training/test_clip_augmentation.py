"""Pieces follow what moves, nothing differs between the frames of a clip, and no colour tells a class."""

import pytest
import torch

from vad.training.clip_augmentation import (
    blurred,
    jittered,
    masked,
    motion_map,
    normalising,
    pieces,
    recoloured,
)

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])


def walking(count: int = 4, height: int = 96, width: int = 128) -> torch.Tensor:
    """Clips uint8 (B, 16, H, W, 3) of noise in which a bright square of 16 pixels walks at a place of its own."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(90, 110, (count, 16, height, width, 3), dtype=torch.uint8, generator=generator)
    for clip in range(count):
        for frame in range(16):
            left = 16 * clip + frame
            clips[clip, frame, 8 + 16 * clip : 24 + 16 * clip, left : left + 16] = 250
    return clips


NONE, ALL = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)


def test_the_motion_map_is_highest_where_something_moves_and_the_same_for_any_order() -> None:
    clips = walking()
    still = motion_map(clips)
    assert still.shape == (4, 12, 16)
    for clip in range(4):
        row, column = divmod(int(still[clip].argmax()), 16)
        assert 1 + 2 * clip <= row <= 3 + 2 * clip and 2 * clip <= column <= 2 * clip + 4
    blocks = clips.view(4, 4, 4, *clips.shape[2:])[:, [2, 0, 3, 1]].reshape(clips.shape)
    torch.testing.assert_close(motion_map(blocks), still)


def test_what_follows_the_first_quarter_does_not_change_where_an_early_piece_lies() -> None:
    clips = walking()
    changed = torch.cat([clips[:, :4], clips.flip(0)[:, 4:]], 1)
    one, other = (pieces(c, (48, 32), early=ALL, at_random=False) for c in (clips, changed))
    assert torch.equal(one.clips[:, :4], other.clips[:, :4]) and torch.equal(one.motion, other.motion)
    assert not torch.equal(pieces(changed, (48, 32), early=NONE, at_random=False).clips[:, :4], one.clips[:, :4])


def test_without_drawing_a_piece_holds_what_moves_most() -> None:
    cut = pieces(walking(), (48, 32), early=NONE, at_random=False)
    assert cut.clips.shape == (4, 16, 32, 48, 3)
    assert ((cut.clips[..., 1] == 250).flatten(2).sum(2) >= 200).all(), "the square is in every frame"
    assert (cut.motion > 0.01).all()
    assert (
        pieces(
            torch.full((2, 16, 96, 128, 3), 100, dtype=torch.uint8), (48, 32), early=NONE[:2], at_random=False
        ).motion
        == 0
    ).all()


def test_drawn_pieces_follow_the_seed_and_what_moves() -> None:
    clips = walking()
    torch.manual_seed(3)
    first = pieces(clips, (48, 32), early=NONE, at_random=True).clips
    torch.manual_seed(3)
    assert torch.equal(first, pieces(clips, (48, 32), early=NONE, at_random=True).clips)
    torch.manual_seed(4)
    assert not torch.equal(first, pieces(clips, (48, 32), early=NONE, at_random=True).clips)
    assert ((first[..., 1] == 250).flatten(1).sum(1) > 0).float().mean() > 0.7


def test_a_piece_is_never_larger_than_its_clip() -> None:
    clips = walking()
    assert torch.equal(pieces(clips, (500, 500), early=NONE, at_random=False).clips, clips)


def test_half_of_the_pieces_are_mirrored() -> None:
    clips = walking(1).repeat(200, 1, 1, 1, 1)
    torch.manual_seed(0)
    cut = pieces(clips, (128, 96), early=torch.zeros(200, dtype=torch.bool), at_random=True, flip=True).clips
    mirrored = (cut == clips.flip(3)).flatten(1).all(1)
    assert ((cut == clips).flatten(1).all(1) | mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_pixels_are_normalised_channel_by_channel() -> None:
    clips = walking(2)
    x = recoloured(clips, normalising(2, MEAN, STD))
    assert x.shape == (2, 3, 16, 96, 128) and x.is_contiguous(memory_format=torch.channels_last_3d)
    expected = (clips.float() / 255 - MEAN) / STD
    torch.testing.assert_close(x.movedim(1, -1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_every_frame_of_a_clip_gets_the_same_colours_blur_and_mask(seed: int) -> None:
    clips = torch.randint(0, 255, (3, 1, 32, 32, 3), dtype=torch.uint8).expand(3, 16, 32, 32, 3)
    torch.manual_seed(seed)
    x = recoloured(clips, jittered(clips, 0.4, MEAN, STD))
    x = masked(blurred(x, torch.rand(3)), 0.5)
    torch.testing.assert_close(x, x[:, :, :1].expand_as(x), rtol=0, atol=1e-5)


def test_four_in_five_clips_are_jittered_within_bounds() -> None:
    clips = torch.full((400, 16, 8, 8, 3), 120, dtype=torch.uint8)
    torch.manual_seed(0)
    level = recoloured(clips, jittered(clips, 0.4, torch.zeros(3), torch.ones(3)))[:, 0, 0, 0, 0] * 255
    changed = (level - 120).abs() > 0.1
    assert 0.7 < changed.float().mean() < 0.9
    assert level.min() >= 0.55 * 120 and level.max() <= 1.45 * 120


def test_blur_of_strength_one_is_the_mean_of_neighbours_and_of_zero_nothing() -> None:
    x = torch.zeros(2, 1, 1, 5, 5)
    x[:, :, :, 2, 2] = 9
    soft = blurred(x, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(soft[0], x[0])
    torch.testing.assert_close(soft[1, 0, 0, 1:4, 1:4], torch.ones(3, 3))


def test_masks_hide_top_and_bottom_of_a_share_of_the_clips() -> None:
    torch.manual_seed(0)
    x = masked(torch.ones(200, 3, 2, 25, 8), 0.5)
    hidden = x[:, 0, 0, 0, 0] == 0
    assert 70 < hidden.sum() < 130
    assert (x[hidden][:, :, :, [0, 2, 22, 24]] == 0).all() and (x[:, :, :, 3:22] == 1).all()
    assert (x[~hidden] == 1).all()
