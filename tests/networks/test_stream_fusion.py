"""Early fusion: no stream rules another by its scale."""

import pytest
import torch
from torch.nn import functional

from vad.networks.stream_fusion import StreamFusion

REAL = torch.ones(2, 5, dtype=torch.bool)


def streams() -> list[torch.Tensor]:
    """Non-negative features of varying norm as I3D's, and such of unit length as CLIP's."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.rand(2, 5, 1024, generator=random),
        functional.normalize(torch.randn(2, 5, 512, generator=random), dim=-1),
    ]


@pytest.mark.parametrize("fuse", ["concat", "sum", "gated"])
@pytest.mark.parametrize("norm", ["layer", "l2"])
def test_a_stream_of_a_hundred_times_larger_numbers_gives_the_same_rows(fuse, norm) -> None:
    torch.manual_seed(0)
    fusion = StreamFusion([1024, 512], 16, fuse=fuse, norm=norm).eval()
    i3d, clip = streams()
    torch.testing.assert_close(fusion([i3d, 100 * clip], REAL), fusion([i3d, clip], REAL), rtol=1e-4, atol=1e-5)


def test_without_a_norm_scale_matters() -> None:
    fusion = StreamFusion([1024, 512], 16, norm="none").eval()
    i3d, clip = streams()
    assert not torch.allclose(fusion([i3d, 100 * clip], REAL), fusion([i3d, clip], REAL), rtol=1e-2)


def test_rows_are_those_of_the_formulas() -> None:
    torch.manual_seed(0)
    parts = [functional.layer_norm(s, s.shape[-1:], eps=1e-8) for s in streams()]
    concat, total, gated = (StreamFusion([1024, 512], 16, fuse=fuse).eval() for fuse in ("concat", "sum", "gated"))
    torch.testing.assert_close(concat(streams(), REAL), concat.project[0](torch.cat(parts, -1)).relu())
    first, second = (project(part) for project, part in zip(total.project, parts, strict=True))
    torch.testing.assert_close(total(streams(), REAL), (first + second).relu())
    first, second = (project(part) for project, part in zip(gated.project, parts, strict=True))
    share = gated.gate(torch.cat(parts, -1)).view(2, 5, 16, 2).softmax(-1)
    torch.testing.assert_close(gated(streams(), REAL), (share[..., 0] * first + share[..., 1] * second).relu())


def test_half_precision_rows_and_rows_of_zeros_give_numbers() -> None:
    for norm in ("layer", "l2", "none"):
        fusion = StreamFusion([6], 4, norm=norm)
        rows = torch.randn(2, 5, 6).half()
        rows[:, 3:] = 0
        fused = fusion([rows], REAL)
        fused.sum().backward()
        assert fused.dtype == torch.float32 and fused.isfinite().all()
        assert all(p.grad.isfinite().all() for p in fusion.parameters())
