"""Pooling of snippets into segments."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vad.datamodules.segments import pool, pooled_length, segment_bounds


def slowly(rows: np.ndarray, segments: int) -> np.ndarray:
    """The twin: one segment after another, as the public code of RTFM does."""
    bounds = np.linspace(0, len(rows), segments + 1).astype(int)
    return np.stack([rows[a:b].mean(0) if b > a else rows[a] for a, b in pairwise(bounds)])


def test_five_snippets_fill_eight_segments_as_published() -> None:
    assert segment_bounds(5, 8).tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 5]
    assert pool(torch.arange(5.0), 8, "mean").tolist() == [0, 0, 1, 1, 2, 3, 3, 4]


def test_seventy_snippets_are_cut_into_32_as_published() -> None:
    assert segment_bounds(70, 32)[:9].tolist() == [0, 2, 4, 6, 8, 10, 13, 15, 17]


def test_bounds_do_not_overflow_sixteen_bits() -> None:
    assert segment_bounds(70_000, 32)[-1] == 70_000


@given(count=st.integers(1, 90), segments=st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_pooling_is_that_of_public_code(count, segments) -> None:
    rows = np.random.default_rng(count).standard_normal((count, 2, 3)).astype(np.float16)
    expected = slowly(rows.astype(np.float64), segments)
    pooled = pool(torch.from_numpy(rows), segments, "mean")
    assert pooled.dtype == torch.float32
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    padded = pool(torch.from_numpy(rows), segments, "pad")
    assert len(padded) == pooled_length(count, segments, "pad") == min(count, segments)
    np.testing.assert_allclose(padded, rows if count <= segments else expected, rtol=1e-5, atol=1e-6)


def test_the_mean_is_kept_where_the_count_is_a_multiple() -> None:
    rows = torch.randn(96, 4)
    torch.testing.assert_close(pool(rows, 32, "mean").mean(0), rows.mean(0))


def test_sums_do_not_lose_what_half_precision_would() -> None:
    rows = torch.full((5000, 1), 0.1, dtype=torch.float16)
    assert pool(rows, 1, "mean").item() == pytest.approx(float(rows[0]), rel=1e-4)


def test_without_a_number_of_segments_every_snippet_stays() -> None:
    rows = torch.randn(7, 2)
    assert torch.equal(pool(rows, None, "pad"), rows) and pooled_length(7, None, "mean") == 7
