"""Video encoders have their published shapes, take clips of any size, and start from public weights or say why not."""

import re
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from vad.errors import ConfigError, RunError
from vad.networks.video_encoders import VideoEncoderName, load_kinetics, video_encoder

CLASSIFIER = 400 * 512 + 400
PUBLISHED = {"r3d_18": 33_371_472, "r2plus1d_18": 31_505_325}  # with torchvision's classifier of Kinetics-400


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_published_networks_have_the_published_number_of_parameters(name: VideoEncoderName, parameters: int) -> None:
    with torch.device("meta"):
        network = video_encoder(name)
    assert sum(p.numel() for p in network.parameters()) == parameters - CLASSIFIER


def test_modules_carry_torchvisions_names() -> None:
    with torch.device("meta"):
        plain, factored = (
            {name: tuple(tensor.shape) for name, tensor in video_encoder(name).state_dict().items()}
            for name in ("r3d_18", "r2plus1d_18")
        )
    assert plain["stem.0.weight"] == (64, 3, 3, 7, 7) and plain["stem.1.running_mean"] == (64,)
    assert plain["layer1.0.conv1.0.weight"] == (64, 64, 3, 3, 3) and plain["layer1.0.conv2.1.bias"] == (64,)
    assert plain["layer4.0.downsample.0.weight"] == (512, 256, 1, 1, 1) and "layer4.0.downsample.1.weight" in plain
    assert factored["stem.0.weight"] == (45, 3, 1, 7, 7) and factored["stem.3.weight"] == (64, 45, 3, 1, 1)
    assert factored["stem.4.weight"] == (64,)
    assert factored["layer1.0.conv1.0.0.weight"] == (144, 64, 1, 3, 3) and factored["layer1.0.conv1.1.bias"] == (64,)
    assert factored["layer2.0.conv1.0.3.weight"] == (128, 230, 3, 1, 1) and "layer2.0.conv2.0.1.weight" in factored
    assert factored["layer2.0.conv2.0.0.weight"] == (230, 128, 1, 3, 3) and "layer1.0.downsample.0.weight" not in plain
    assert len(plain) == 120 and len(factored) == 222


@pytest.mark.parametrize("name", get_args(VideoEncoderName))
def test_clips_of_any_size_become_vectors_in_either_precision_and_layout(name: VideoEncoderName) -> None:
    torch.manual_seed(0)
    network = video_encoder(name).eval()
    clips = torch.randn(2, 3, 8, 24, 40)
    with torch.inference_mode():
        expected = network(clips)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        last = network(clips.to(memory_format=torch.channels_last_3d))
        with torch.autocast("cpu", torch.bfloat16):
            half = network(clips.to(memory_format=torch.channels_last_3d))
    assert expected.shape == (2, network.dim) and expected.dtype == half.dtype == torch.float32
    torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-4)
    assert torch.cosine_similarity(half, expected).min() > 0.99 and not torch.equal(half, expected)
    assert expected.std() > 0.02 and not torch.allclose(expected[0], expected[1], rtol=0.01)


def test_the_vector_is_the_mean_over_the_maps() -> None:
    network = video_encoder("small").eval()
    with torch.inference_mode():
        clips = torch.randn(1, 3, 16, 64, 64)
        maps = network.maps(clips)
        assert maps.shape == (1, 128, 8, 8, 8)
        torch.testing.assert_close(network(clips), maps.flatten(2).mean(2))


def test_the_small_network_costs_a_cpu_little_and_learns() -> None:
    network = video_encoder("small")
    operations = []
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda m, _, out: operations.append(m.weight.numel() * out[0, 0].numel()))
    network(torch.randn(2, 3, 16, 64, 64)).square().mean().backward()
    assert 300e6 < sum(operations) < 400e6
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_kinetics_weights_are_loaded_without_their_classifier(name: VideoEncoderName, tmp_path: Path) -> None:
    theirs, ours = video_encoder(name), video_encoder(name)
    classifier = {"fc.weight": torch.zeros(400, 512), "fc.bias": torch.zeros(400)}
    torch.save(theirs.state_dict() | classifier, tmp_path / "kinetics.pth")
    load_kinetics(ours, tmp_path / "kinetics.pth")
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items())


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    torch.save(video_encoder("r3d_18").state_dict(), tmp_path / "r3d.pth")
    torch.save({"state_dict": {}}, tmp_path / "other.pth")
    network = video_encoder("r2plus1d_18")
    with pytest.raises(RunError, match=r"r3d\.pth: is not of r2plus1d_18 as torchvision publishes it"):
        load_kinetics(network, tmp_path / "r3d.pth")
    with pytest.raises(RunError, match=r"other\.pth: holds no weights by name"):
        load_kinetics(network, tmp_path / "other.pth")
    with pytest.raises(RunError, match=re.escape(f"{tmp_path / 'gone.pth'}: no such file")):
        load_kinetics(network, tmp_path / "gone.pth")
    with pytest.raises(ConfigError, match="not for SmallVideoEncoder"):
        load_kinetics(video_encoder("small"), tmp_path / "r3d.pth")
    with pytest.raises(ConfigError, match="expected one of r2plus1d_18, r3d_18, small, got 'c3d'"):
        video_encoder("c3d")  # type: ignore[arg-type]
