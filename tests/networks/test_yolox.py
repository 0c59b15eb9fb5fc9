"""YOLOX in torch is YOLOX as exported, whichever file its weights come from."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vad.errors import MissingExtraError, VadError
from vad.networks.yolox import BATCHNORM_EPSILON, SIZES, YOLOX, call_order, decode, read_yolox


def images(batch: int = 2, height: int = 96, width: int = 128) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, height, width), generator=torch.Generator().manual_seed(0)).float()


def test_real_weights_give_what_onnxruntime_gives(real_data: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = real_data / "weights" / "yolox_nano.onnx"
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = images()
    (expected,) = session.run(None, {"images": x.numpy()})
    np.testing.assert_allclose(read_yolox(path)(x).numpy(), expected, atol=1e-3)


PUBLISHED_MILLIONS = {"nano": 0.91, "tiny": 5.06, "s": 8.97, "m": 25.3, "l": 54.2, "x": 99.1}


@pytest.mark.parametrize(("size", "millions"), PUBLISHED_MILLIONS.items())
def test_sizes_have_the_published_numbers_of_parameters(size: str, millions: float) -> None:
    """The published counts hold BatchNorm's two parameters a channel; folded, a channel has one bias."""
    with torch.device("meta"):
        network = YOLOX(size=SIZES[size])
    biases = sum(m.bias.numel() for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and "_preds" not in n)
    assert (sum(p.numel() for p in network.parameters()) + biases) / 1e6 == pytest.approx(millions, rel=0.01)


class Normed(nn.Module):
    """A convolution of the official training code: no bias, BatchNorm behind it."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            groups=conv.groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(conv.out_channels, eps=BATCHNORM_EPSILON)
        for tensor in (self.bn.weight, self.bn.bias, self.bn.running_mean, self.bn.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.silu(self.bn(self.conv(x)))


def unfused(size: str, classes: int) -> YOLOX:
    """The network as it is trained, with BatchNorm, under the official names."""
    torch.manual_seed(0)
    network = YOLOX(size=SIZES[size], classes=classes)
    for name, module in list(network.named_modules()):
        if type(module).__name__ == "BaseConv":
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, Normed(module.conv))
    return network.eval()


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_batchnorm_of_an_official_checkpoint_is_folded_in(tmp_path: Path, size: str) -> None:
    trained = unfused(size, classes=7)
    torch.save({"model": trained.state_dict(), "start_epoch": 300}, tmp_path / "yolox.pth")
    assert "backbone.backbone.dark2.1.m.0.conv1.bn.running_var" in trained.state_dict()
    x = images(1, 64, 64)
    with torch.inference_mode():
        expected = trained(x)
        found = read_yolox(tmp_path / "yolox.pth")(x)
    assert found.shape == (1, 8 * 8 + 4 * 4 + 2 * 2, 5 + 7)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_an_export_is_mapped_by_the_order_of_its_convolutions(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(1)
    network = YOLOX(size=SIZES["nano"], classes=3).eval()
    nodes, arrays = [], []
    for index, name in enumerate(call_order(SIZES["nano"])):
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        for kind, tensor in (("w", conv.weight), ("b", conv.bias)):
            arrays.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), f"{kind}{index}"))
        nodes.append(onnx.helper.make_node("Conv", [f"x{index}", f"w{index}", f"b{index}"], [f"x{index + 1}"]))
    graph = onnx.helper.make_graph(nodes, "g", [], [], initializer=arrays)
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "a.onnx"))
    with torch.inference_mode():
        torch.testing.assert_close(read_yolox(tmp_path / "a.onnx")(images()), network(images()))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes[:9], "g", [], [], arrays)), str(tmp_path / "b.onnx"))
    with pytest.raises(VadError, match="holds 9 convolutions"):
        read_yolox(tmp_path / "b.onnx")


def test_decoding_adds_the_grid_and_undoes_stride_and_logarithm() -> None:
    output = torch.zeros(1, 8 * 4 + 4 * 2 + 2, 6)
    output[0, 9, :4] = torch.tensor([0.5, 0.25, 0.0, np.log(2.0)])  # second row, second column of stride 8
    output[0, -1, :4] = torch.tensor([0.0, 0.0, 0.0, 0.0])  # last cell of stride 32
    box = decode(output, height=32, width=64)[0]
    assert box[9].tolist() == pytest.approx([12 - 4, 10 - 8, 12 + 4, 10 + 8])
    assert box[-1].tolist() == [32 - 16, 0 - 16, 32 + 16, 0 + 16]


def test_wrong_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VadError, match=r"nowhere\.pth"):
        read_yolox(tmp_path / "nowhere.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.onnx").write_text("hello")
    torch.save({"model": {"fc.weight": torch.zeros(3, 3)}}, tmp_path / "other.pth")
    state = unfused("nano", 3).state_dict()
    del state["head.stems.0.conv.weight"]
    torch.save(state, tmp_path / "lacking.pth")
    reasons = {"text.pth": "checkpoint", "text.onnx": "ONNX", "other.pth": "known size", "lacking.pth": "stems"}
    for name, reason in reasons.items():
        with pytest.raises(VadError, match=reason) as error:
            read_yolox(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name))
    original = builtins.__import__

    def without_onnx(name: str, *rest: Any, **named: Any) -> Any:
        if name == "onnx":
            raise ImportError
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(MissingExtraError, match=r"vad\[onnx\]"):
        read_yolox(tmp_path / "text.onnx")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Path("/")}, tmp_path / "bad.pth")
    with pytest.raises(VadError, match=r"bad\.pth: cannot be read as a checkpoint"):
        read_yolox(tmp_path / "bad.pth")
