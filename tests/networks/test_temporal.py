"""Attention in a window, against a dense twin; streams that are scored in pieces."""

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vad.networks.temporal import TemporalEncoder, WindowAttention


def dense(attention: WindowAttention, rows: torch.Tensor, length: int) -> torch.Tensor:
    """One bag (T, W), a head and a row at a time."""
    projected = attention.project(rows[:length])
    query, key, value, near = projected.unflatten(-1, (4, attention.heads, -1)).permute(1, 2, 0, 3)
    joined = torch.zeros(length, 2, attention.heads, query.shape[-1])
    for t in range(length):
        seen = [u for u in range(length) if abs(t - u) <= attention.window]
        for head in range(attention.heads):
            weight = (key[head, seen] @ query[head, t] / math.sqrt(query.shape[-1])).softmax(0)
            joined[t, 0, head] = weight @ value[head, seen]
            weight = torch.tensor([math.exp(-abs(t - u) / math.e) for u in seen])
            joined[t, 1, head] = weight / weight.sum() @ near[head, seen]
    return attention.join(joined.flatten(1))


@pytest.mark.parametrize("window", [1, 3, 4, 8, 50])
def test_attention_is_that_of_a_dense_twin_over_borders_of_blocks_and_without_padding(window) -> None:
    torch.manual_seed(0)
    attention = WindowAttention(6, heads=2, head_width=3, window=window).eval()
    rows, length = torch.randn(3, 12, 6), [12, 9, 1]
    with torch.no_grad():
        ours = attention(rows, torch.arange(12) < torch.tensor(length)[:, None])
        for bag, n in enumerate(length):
            torch.testing.assert_close(ours[bag, :n], dense(attention, rows[bag], n), rtol=1e-4, atol=1e-5)
    assert ours.isfinite().all()


@pytest.mark.parametrize("kind", ["none", "conv", "conv_tf"])
def test_what_stands_behind_the_end_changes_nothing(kind) -> None:
    torch.manual_seed(0)
    encoder = TemporalEncoder(8, kind=kind, heads=2, head_width=4, window=3).eval()
    rows = torch.randn(2, 10, 8)
    alone = encoder(rows, torch.ones(2, 10, dtype=torch.bool))
    padded = torch.cat([rows, 100 * torch.randn(2, 7, 8)], 1)
    both = encoder(padded, (torch.arange(17) < 10).expand(2, -1))
    torch.testing.assert_close(both[:, :10], alone, rtol=1e-4, atol=1e-5)
    assert both.isfinite().all()


def test_a_row_sees_its_neighbours_by_convolution_and_its_window_in_each_layer() -> None:
    torch.manual_seed(0)
    real = torch.ones(1, 40, dtype=torch.bool)
    for kind, reach in (("none", 0), ("conv", 1), ("conv_tf", 1 + 2 * 3)):
        encoder = TemporalEncoder(8, kind=kind, layers=2, heads=2, head_width=4, window=3).eval()
        rows = torch.randn(1, 40, 8, requires_grad=True)
        encoder(rows, real)[0, 20].square().sum().backward()
        seen = rows.grad[0].abs().sum(-1).nonzero()[:, 0]
        assert (int(seen.min()), int(seen.max())) == (20 - reach, 20 + reach)


def test_the_convolution_is_over_time() -> None:
    torch.manual_seed(0)
    encoder = TemporalEncoder(4, kind="conv")
    rows = torch.randn(2, 9, 4)
    weight, bias = encoder.convolution.weight[:, :, 0], encoder.convolution.bias
    expected = torch.nn.functional.conv1d(rows.mT, weight, bias, padding=1).mT.relu()
    torch.testing.assert_close(encoder(rows, torch.ones(2, 9, dtype=torch.bool)), expected)


def test_pieces_with_their_surroundings_equal_the_whole() -> None:
    torch.manual_seed(0)
    encoder = TemporalEncoder(8, layers=2, heads=2, head_width=4, window=5).eval()
    rows, halo, step = torch.randn(1, 103, 8), 1 + 2 * 5, 20
    with torch.no_grad():
        whole = encoder(rows, torch.ones(1, 103, dtype=torch.bool))
        for start in range(0, 103, step):
            first, end = max(0, start - halo), min(103, start + step + halo)
            piece = encoder(rows[:, first:end], torch.ones(1, end - first, dtype=torch.bool))
            here = slice(start - first, min(start + step, 103) - first)
            torch.testing.assert_close(piece[:, here], whole[:, start : start + step], rtol=1e-4, atol=1e-5)


class Largest(TorchDispatchMode):
    """Keeps the number of values of the largest tensor that an operation made."""

    values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple | list) else [result]
        self.values = max(
            self.values, *(t.untyped_storage().nbytes() // 4 for t in made if isinstance(t, torch.Tensor))
        )
        return result


def test_memory_grows_with_the_length_not_with_its_square() -> None:
    torch.manual_seed(0)
    length = 20_250  # three hours at 30 frames a second
    encoder = TemporalEncoder(4, layers=1, heads=2, head_width=2, window=256).eval()
    with torch.no_grad(), Largest() as largest:
        encoder(torch.randn(1, length, 4), torch.ones(1, length, dtype=torch.bool))
    assert length * 4 <= largest.values < 1_000_000, "a full matrix would have 410 million"


def test_in_bf16_it_learns() -> None:
    torch.manual_seed(0)
    encoder = TemporalEncoder(8, heads=2, head_width=4, window=3)
    real = torch.arange(10) < torch.tensor([10, 4])[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        loss = encoder(torch.randn(2, 10, 8), real)[real].float().square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
