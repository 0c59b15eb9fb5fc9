"""YOLOX (Ge et al., arXiv 2107.08430), for inference: every convolution has its BatchNorm folded in.

    BGR 0..255 (B, 3, H, W) -> Focus stem -> CSPDarknet -> 3 maps (strides 8, 16, 32) -> PAFPN -> decoupled head
                            -> (B, cells, 5 + K): box centre and size (not decoded), objectness, K class probabilities

Modules carry the names of the official checkpoints. Weights come from such a checkpoint, or from an `.onnx` export,
whose convolutions stand in the order in which this module runs them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vad.errors import MissingExtraError, VadError

STRIDES = (8, 16, 32)
BATCHNORM_EPSILON = 1e-3  # YOLOX's own, not torch's default


class Size(NamedTuple):
    """What tells one YOLOX from another."""

    depth: float
    width: float
    depthwise: bool = False


SIZES: Mapping[str, Size] = {
    "nano": Size(0.33, 0.25, depthwise=True),
    "tiny": Size(0.33, 0.375),
    "s": Size(0.33, 0.50),
    "m": Size(0.67, 0.75),
    "l": Size(1.00, 1.00),
    "x": Size(1.33, 1.25),
}


class BaseConv(nn.Module):
    """Convolution (BatchNorm folded in) and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.conv(x), inplace=True)


class DepthwiseConv(nn.Module):
    """One filter for each channel, then a mixture of channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = BaseConv(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = BaseConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pconv(self.dconv(x))


def _conv(inputs: int, outputs: int, kernel: int, stride: int, depthwise: bool) -> nn.Module:
    return (DepthwiseConv if depthwise else BaseConv)(inputs, outputs, kernel, stride)


class Focus(nn.Module):
    """Each 2 x 2 patch of pixels becomes 12 channels: top left, bottom left, top right, bottom right."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = BaseConv(12, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        top, bottom = x[..., ::2, :], x[..., 1::2, :]
        return self.conv(torch.cat((top[..., ::2], bottom[..., ::2], top[..., 1::2], bottom[..., 1::2]), 1))


class Bottleneck(nn.Module):
    """1 x 1 and 3 x 3 convolution, with a shortcut if asked."""

    def __init__(self, channels: int, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.conv1 = BaseConv(channels, channels, 1)
        self.conv2 = _conv(channels, channels, 3, 1, depthwise)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        return y + x if self.shortcut else y


class CSPLayer(nn.Module):
    """Half of the channels pass `n` bottlenecks, the other half passes by."""

    def __init__(self, inputs: int, outputs: int, n: int, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        hidden = outputs // 2
        self.conv1 = BaseConv(inputs, hidden, 1)
        self.conv2 = BaseConv(inputs, hidden, 1)
        self.conv3 = BaseConv(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut, depthwise) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        through, past = self.conv1(x), self.conv2(x)
        return self.conv3(torch.cat((self.m(through), past), 1))


class SPPBottleneck(nn.Module):
    """Maxima over 5, 9 and 13 pixels beside the map itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = BaseConv(channels, channels // 2, 1)
        self.conv2 = BaseConv(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(torch.cat((x, *(functional.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))), 1))


class CSPDarknet(nn.Module):
    """The backbone: maps of strides 8, 16 and 32."""

    def __init__(self, depth: float, width: float, depthwise: bool) -> None:
        super().__init__()
        c, n = int(width * 64), max(round(depth * 3), 1)
        self.stem = Focus(c)

        def stage(inputs: int, blocks: int, *between: nn.Module, shortcut: bool = True) -> nn.Module:
            outputs = 2 * inputs
            last = CSPLayer(outputs, outputs, blocks, shortcut, depthwise)
            return nn.Sequential(_conv(inputs, outputs, 3, 2, depthwise), *between, last)

        self.dark2 = stage(c, n)
        self.dark3 = stage(2 * c, 3 * n)
        self.dark4 = stage(4 * c, 3 * n)
        self.dark5 = stage(8 * c, n, SPPBottleneck(16 * c), shortcut=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.dark2(self.stem(x))
        x8 = self.dark3(x)
        x16 = self.dark4(x8)
        return x8, x16, self.dark5(x16)


class PAFPN(nn.Module):
    """Backbone and feature pyramid: from coarse to fine, and back."""

    def __init__(self, depth: float, width: float, depthwise: bool) -> None:
        super().__init__()
        c8, c16, c32 = (int(width * c) for c in (256, 512, 1024))
        n = round(3 * depth)
        self.backbone = CSPDarknet(depth, width, depthwise)
        self.lateral_conv0 = BaseConv(c32, c16, 1)
        self.C3_p4 = CSPLayer(2 * c16, c16, n, False, depthwise)
        self.reduce_conv1 = BaseConv(c16, c8, 1)
        self.C3_p3 = CSPLayer(2 * c8, c8, n, False, depthwise)
        self.bu_conv2 = _conv(c8, c8, 3, 2, depthwise)
        self.C3_n3 = CSPLayer(2 * c8, c16, n, False, depthwise)
        self.bu_conv1 = _conv(c16, c16, 3, 2, depthwise)
        self.C3_n4 = CSPLayer(2 * c16, c32, n, False, depthwise)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x8, x16, x32 = self.backbone(x)
        down32 = self.lateral_conv0(x32)
        down16 = self.reduce_conv1(self.C3_p4(torch.cat((_double(down32), x16), 1)))
        up8 = self.C3_p3(torch.cat((_double(down16), x8), 1))
        up16 = self.C3_n3(torch.cat((self.bu_conv2(up8), down16), 1))
        up32 = self.C3_n4(torch.cat((self.bu_conv1(up16), down32), 1))
        return up8, up16, up32


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")


class Head(nn.Module):
    """Decoupled head: for each map a branch for classes, and one for box and objectness."""

    def __init__(self, classes: int, width: float, depthwise: bool) -> None:
        super().__init__()
        c = int(256 * width)
        inputs = [int(width * channels) for channels in (256, 512, 1024)]

        def branch() -> nn.Module:
            return nn.Sequential(_conv(c, c, 3, 1, depthwise), _conv(c, c, 3, 1, depthwise))

        self.stems = nn.ModuleList(BaseConv(i, c, 1) for i in inputs)
        self.cls_convs = nn.ModuleList(branch() for _ in inputs)
        self.reg_convs = nn.ModuleList(branch() for _ in inputs)
        self.cls_preds = nn.ModuleList(nn.Conv2d(c, classes, 1) for _ in inputs)
        self.reg_preds = nn.ModuleList(nn.Conv2d(c, 4, 1) for _ in inputs)
        self.obj_preds = nn.ModuleList(nn.Conv2d(c, 1, 1) for _ in inputs)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        outputs = []
        for level, features in enumerate(maps):
            x = self.stems[level](features)
            classes = self.cls_preds[level](self.cls_convs[level](x))  # the order of calls is that of an .onnx export
            x = self.reg_convs[level](x)
            box, objectness = self.reg_preds[level](x), self.obj_preds[level](x)
            outputs.append(torch.cat((box, objectness.sigmoid(), classes.sigmoid()), 1).flatten(2))
        return torch.cat(outputs, 2).transpose(1, 2)


class YOLOX(nn.Module):
    """The network: BGR 0..255 float (B, 3, H, W), H and W multiples of 32, -> (B, cells, 5 + classes)."""

    def __init__(self, *, size: Size, classes: int = 80) -> None:
        super().__init__()
        self.backbone = PAFPN(*size)
        self.head = Head(classes, size.width, size.depthwise)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def decode(output: Tensor, height: int, width: int) -> Tensor:
    """Boxes of all cells, xyxy in pixels of the network's input: (B, cells, 5 + K) -> (B, cells, 4)."""
    cells, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        cells.append(torch.stack((x, y), -1).reshape(-1, 2))
        strides.append(torch.full((len(cells[-1]), 1), stride))
    cell, stride_of = torch.cat(cells).to(output), torch.cat(strides).to(output)
    centre, extent = (output[..., :2] + cell) * stride_of, output[..., 2:4].exp() * stride_of
    return torch.cat((centre - extent / 2, centre + extent / 2), -1)


class Weights(NamedTuple):
    """A convolution with its BatchNorm folded in."""

    weight: Tensor
    bias: Tensor


def read_yolox(path: str | Path) -> YOLOX:
    """The network that the weights are of, from an `.onnx` export or an official checkpoint (`.pth`).

    Raises `VadError` for a file that is missing or no YOLOX, `MissingExtraError` for `.onnx` without the extra `onnx`.
    """
    path = Path(path)
    if not path.is_file():
        raise VadError(f"{path}: there are no such weights")
    weights = _read_onnx(path) if path.suffix == ".onnx" else _read_checkpoint(path)
    stem = weights[0] if isinstance(weights, list) else weights.get("backbone.backbone.stem.conv.conv")
    size = next((s for s in SIZES.values() if stem is not None and int(s.width * 64) == len(stem.weight)), None)
    if size is None:
        raise VadError(f"{path}: is not a YOLOX of a known size ({', '.join(SIZES)})")
    if isinstance(weights, list):
        order = call_order(size)
        if len(order) != len(weights):
            raise VadError(f"{path}: holds {len(weights)} convolutions, a YOLOX of this width has {len(order)}")
        weights = dict(zip(order, weights, strict=True))
    with torch.device("meta"):
        network = YOLOX(size=size, classes=len(weights["head.cls_preds.0"].weight)).eval()
    state = {f"{name}.{field}": tensor for name, w in weights.items() for field, tensor in w._asdict().items()}
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise VadError(f"{path}: does not fit YOLOX ({' '.join(str(error).split())[:200]})") from None
    for parameter in network.parameters():  # channels last: 1.4 to 4.5 times as fast on CPUs
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network.requires_grad_(False)


def call_order(size: Size) -> list[str]:
    """Names of the convolutions in the order in which they run, which is that of an exported graph."""
    with torch.device("meta"):
        network = YOLOX(size=size, classes=1)
        order: list[str] = []
        for name, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda *_, name=name: order.append(name))
        network(torch.zeros(1, 3, 64, 64))
    return order


def _read_onnx(path: Path) -> list[Weights]:
    """Every convolution of the graph, in its order; training frameworks fold BatchNorm in when they export."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's DecodeError, which is not a public class
        raise VadError(f"{path}: cannot be read as ONNX ({' '.join(str(error).split())})") from None
    arrays = {i.name: torch.from_numpy(onnx.numpy_helper.to_array(i).copy()) for i in graph.initializer}
    convolutions = [node.input for node in graph.node if node.op_type == "Conv"]
    if any(len(inputs) != 3 or not {*inputs[1:]} <= arrays.keys() for inputs in convolutions):
        raise VadError(
            f"{path}: its convolutions have no weight and bias as initialisers; export it with BatchNorm folded"
        )
    return [Weights(arrays[inputs[1]].float(), arrays[inputs[2]].float()) for inputs in convolutions]


def _read_checkpoint(path: Path) -> dict[str, Weights]:
    """Every convolution by name, BatchNorm folded in."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the file's bytes lead torch's unpickler to
        raise VadError(f"{path}: cannot be read as a checkpoint ({' '.join(str(error).split())[:200]})") from None
    state = state.get("model", state) if isinstance(state, dict) else {}
    return {
        name: _fold(state, name)
        for name in (key.removesuffix(".weight") for key in state)
        if f"{name}.weight" in state and getattr(state[f"{name}.weight"], "ndim", 0) == 4
    }


def _fold(state: Mapping[str, Tensor], name: str) -> Weights:
    """BatchNorm after a convolution without bias is another convolution with bias."""
    weight = state[f"{name}.weight"].float()
    norm = f"{name.removesuffix('conv')}bn"
    if not name.endswith(".conv") or f"{norm}.running_var" not in state:
        return Weights(weight, state.get(f"{name}.bias", torch.zeros(len(weight))).float())
    scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + BATCHNORM_EPSILON).sqrt()
    return Weights(weight * scale[:, None, None, None], state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)
