"""Networks that turn clips into vectors: R(2+1)D-18, R3D-18, and a small one for CPUs.

    clips float (B, 3, T, H, W) -> stem -> stages -> (B, dim, t, h, w) -> mean over t, h and w: (B, dim)

R(2+1)D and R3D: Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018. Modules
carry the names of torchvision's, whose public Kinetics weights fit.
"""

from pathlib import Path
from typing import Literal, get_args

from torch import Tensor, float32, nn
from torch.nn import functional

from vad.errors import ConfigError, RunError
from vad.networks.tensor_files import load_weights_only

VideoEncoderName = Literal["r2plus1d_18", "r3d_18", "small"]


class VideoEncoder(nn.Module):
    """Base of the networks. A subclass gives `dim` and `maps`."""

    dim: int

    def maps(self, clips: Tensor) -> Tensor:
        """Feature maps (B, dim, t, h, w) of clips float (B, 3, T, H, W)."""
        raise NotImplementedError

    def forward(self, clips: Tensor) -> Tensor:
        """Vectors float32 (B, dim), under autocast too."""
        return self.maps(clips).mean((2, 3, 4), dtype=float32)

    def draw(self) -> None:
        """Draw the convolutions' weights as torchvision does; BatchNorm begins as torch makes it."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def video_encoder(name: VideoEncoderName) -> VideoEncoder:
    """A network of that name, its weights drawn at random."""
    if name == "small":
        return SmallVideoEncoder()
    if name in get_args(VideoEncoderName):
        return VideoResNet(factored=name == "r2plus1d_18")
    raise ConfigError(f"video encoder: expected one of {', '.join(get_args(VideoEncoderName))}, got '{name}'")


def load_kinetics(network: VideoEncoder, path: str | Path) -> None:
    """Load the weights that torchvision publishes, `r2plus1d_18-91a641e6.pth` or `r3d_18-b3b3357e.pth`, without their
    classifier.

    Raises:
        ConfigError: There are none for this network.
        RunError: The file is missing, damaged, or of another network.
    """
    if not isinstance(network, VideoResNet):
        raise ConfigError(f"kinetics: there are weights for r2plus1d_18 and r3d_18, not for {type(network).__name__}")
    content = load_weights_only(path)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RunError(f"{path}: holds no weights by name, as torchvision publishes them")
    weights = {name: value for name, value in content.items() if not name.startswith("fc.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: is not of {network.name} as torchvision publishes it ({reason})") from None


class VideoResNet(VideoEncoder):
    """R3D-18, or R(2+1)D-18 where each convolution is factored into one of space and one of time."""

    dim = 512

    def __init__(self, *, factored: bool) -> None:
        super().__init__()
        self.name: VideoEncoderName = "r2plus1d_18" if factored else "r3d_18"
        self.stem = nn.Sequential(
            *(
                [_spatial(3, 45, 7, stride=2), *_norm_relu(45), _temporal(45, 64)]
                if factored
                else [nn.Conv3d(3, 64, (3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False)]
            ),
            *_norm_relu(64),
        )
        self.layer1 = nn.Sequential(Block(64, 64, factored=factored), Block(64, 64, factored=factored))
        self.layer2 = nn.Sequential(Block(64, 128, stride=2, factored=factored), Block(128, 128, factored=factored))
        self.layer3 = nn.Sequential(Block(128, 256, stride=2, factored=factored), Block(256, 256, factored=factored))
        self.layer4 = nn.Sequential(Block(256, 512, stride=2, factored=factored), Block(512, 512, factored=factored))
        self.draw()

    def maps(self, clips: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(self.stem(clips)))))


class Block(nn.Module):
    """Two convolutions and what goes past them."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, factored: bool) -> None:
        super().__init__()
        # As many parameters as an unfactored convolution has (section 3.5); of the first one in both, as published.
        between = 27 * inputs * outputs // (9 * inputs + 3 * outputs) if factored else None
        self.conv1 = nn.Sequential(_convolution(inputs, outputs, between, stride), *_norm_relu(outputs))
        self.conv2 = nn.Sequential(_convolution(outputs, outputs, between), nn.BatchNorm3d(outputs))
        self.downsample = (
            None
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        past = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.conv2(self.conv1(x)) + past, inplace=True)


class SmallVideoEncoder(VideoEncoder):
    """Our choice: what a CPU can train, at about 390 million multiply-adds for a clip of 16 x 64 x 64.

    (2+1)D throughout; the frames' rate is halved only once, since the pretext tasks are about time.
    """

    dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_spatial(3, 24, 5, stride=2), *_norm_relu(24), _temporal(24, 32), *_norm_relu(32))
        self.layer1 = nn.Sequential(_spatial(32, 64, 3, stride=2), *_norm_relu(64), _temporal(64, 64), *_norm_relu(64))
        self.layer2 = nn.Sequential(
            _spatial(64, 128, 3, stride=2), *_norm_relu(128), _temporal(128, 128, stride=2), *_norm_relu(128)
        )
        self.layer3 = nn.Sequential(_spatial(128, 128, 3), *_norm_relu(128), _temporal(128, 128), nn.BatchNorm3d(128))
        self.draw()

    def maps(self, clips: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.stem(clips)))
        return functional.relu(self.layer3(x) + x, inplace=True)


def _convolution(inputs: int, outputs: int, between: int | None, stride: int = 1) -> nn.Module:
    """3 x 3 x 3, or factored with `between` channels in between."""
    if between is None:
        return nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(
        _spatial(inputs, between, 3, stride=stride), *_norm_relu(between), _temporal(between, outputs, stride=stride)
    )


def _spatial(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Conv3d:
    pad = kernel // 2
    return nn.Conv3d(inputs, outputs, (1, kernel, kernel), (1, stride, stride), (0, pad, pad), bias=False)


def _temporal(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)


def _norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm3d(channels), nn.ReLU(inplace=True)
