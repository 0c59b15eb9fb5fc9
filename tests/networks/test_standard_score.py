"""Features in units of their deviation over the training material."""

import torch

from vad.networks.standard_score import StandardScore
from vad.networks.stream_fusion import StreamFusion


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of very different channels, and which of them are real."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(4, 10, 3, generator=random) * torch.tensor([1.0, 100.0, 0.01]) + torch.tensor([0.0, 50.0, 5.0])
    real = torch.arange(10) < torch.tensor([10, 3, 7, 1])[:, None]
    return torch.where(real[..., None], rows, 0), real


def test_real_rows_seen_in_training_have_mean_0_and_deviation_1() -> None:
    standard = StandardScore(3).train()
    batches = [batch(seed) for seed in range(20)]
    for rows, real in batches:
        standard(rows, real)
    standard.eval()
    seen = torch.cat([standard(rows, real)[real] for rows, real in batches])
    torch.testing.assert_close(seen.mean(0), torch.zeros(3), atol=2e-3, rtol=0)
    torch.testing.assert_close(seen.std(0, unbiased=False), torch.ones(3), atol=2e-3, rtol=0)


def test_scoring_changes_nothing_and_does_not_look_at_other_rows() -> None:
    standard = StandardScore(3).train()
    rows, real = batch(0)
    standard(rows, real)
    standard.eval()
    state = {name: tensor.clone() for name, tensor in standard.state_dict().items()}
    together = standard(rows, real)
    alone = standard(rows[:1], real[:1])
    assert torch.equal(together[:1], alone)
    assert all(torch.equal(tensor, state[name]) for name, tensor in standard.state_dict().items())


def test_a_channel_that_never_varied_is_only_centred() -> None:
    standard = StandardScore(3).train()
    everything = torch.ones(2, 4, dtype=torch.bool)
    standard(torch.full((2, 4, 3), 5.0), everything)
    torch.testing.assert_close(standard.eval()(torch.full((2, 4, 3), 7.0), everything), torch.full((2, 4, 3), 2.0))


def test_standard_streams_keep_how_large_a_vector_is_where_layernorm_does_not() -> None:
    rows, real = batch(1)
    for norm, kept in (("standard", True), ("layer", False)):
        torch.manual_seed(0)
        fusion = StreamFusion((3,), 8, norm=norm, dropout=0.0).train()
        fusion([rows], real)
        fusion.eval()
        one, twice = fusion([rows], real)[real], fusion([2 * rows], real)[real]
        assert torch.allclose(one, twice, atol=1e-4) is not kept
