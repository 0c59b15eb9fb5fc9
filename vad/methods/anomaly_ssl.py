"""Anomaly-aware self-supervised pretraining: an encoder learns from the time of surveillance footage itself.

Paper: anomaly-aware self-supervised feature learning, CVIU 257, 2025, 104379. A reconstruction: only the abstract is
public to us. It says that four pretext tasks (temporal order, speed, arrow of time, abrupt change) pretrain an encoder
directly on the footage of anomaly benchmarks, before a detector learns from labels of whole videos. Backbone, sizes,
losses and schedule are our choice.

    clips (B, T, H, W, 3) -> pieces where something moves -> augmented -> encoder -> (B, D)
        -> head `order`    four blocks as they were | permuted
        -> head `speed`    which of several steps between frames
        -> head `arrow`    forward | backward
        -> head `change`   one clip | another from some frame on

Each clip carries one task; one pass of the encoder serves all. Afterwards the heads are dropped, and
`vad extract features --encoder RUN` describes snippets by the encoder.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vad import __version__
from vad.datamodules.clips import ClipData
from vad.datamodules.pretext import TASKS
from vad.datamodules.pretext_data import PretextData
from vad.errors import ConfigError
from vad.methods.pretext_method import PretextMethod, Seen
from vad.networks.encoder_files import EncoderFile, matching, read_encoder, write_encoder
from vad.networks.video_encoders import VideoEncoderName, load_kinetics, video_encoder
from vad.training.clip_augmentation import blurred, jittered, masked, normalising, pieces, recoloured
from vad.types import ClipBatch

# Colours that the public Kinetics weights of R(2+1)D and R3D were trained with.
MEAN = (0.43216, 0.394666, 0.37645)
STD = (0.22803, 0.22145, 0.216989)


class AnomalySSL(PretextMethod):
    """Pretext tasks on clips of footage. Defaults are our reconstruction of the paper's setting; see the module.

    What `PretextMethod` takes may be given too.

    Args:
        encoder: `r2plus1d_18` or `r3d_18` in their published shapes, or `small` for CPUs.
        kinetics: File with public Kinetics weights of the encoder to start from, `None` to start at random, as
            "directly pretrain" in the abstract says.
        size: Width and height of the pieces that are learned from; `None` for whole frames.
        min_motion: Pieces in which less moves (`vad.training.clip_augmentation.motion_map`) teach order, speed and
            arrow nothing: their class cannot be told.
        jitter: Brightness, contrast and saturation of a clip change by up to this share.
        blur: Greatest share of a blurred copy that a clip is mixed with.
        mask: Share of the clips whose top and bottom, where clocks stand, are hidden.
        flip: Mirror half of the clips, left and right only: gravity is a cue.
    """

    def __init__(
        self,
        *,
        encoder: VideoEncoderName = "r2plus1d_18",
        kinetics: str | None = None,
        size: tuple[int, int] | None = (112, 112),
        min_motion: float = 0.005,
        jitter: float = 0.4,
        blur: float = 1.0,
        mask: float = 0.5,
        flip: bool = True,
        **shared: Any,
    ) -> None:
        if size is not None and min(size) < 1:
            raise ConfigError(f"size: expected a width and a height of at least 1, got {list(size)}")
        for name, share in {"jitter": jitter, "blur": blur, "mask": mask}.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"{name}: expected a share from 0 to 1, got {share}")
        network = video_encoder(encoder)
        super().__init__(dim=network.dim, **shared)
        self.encoder = encoder
        self.kinetics = kinetics
        self.size = None if size is None else (size[0], size[1])
        self.min_motion = min_motion
        self.jitter = jitter
        self.blur = blur
        self.mask = mask
        self.flip = flip
        self.network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # stubs lack it
        if kinetics is not None:
            load_kinetics(self.network, kinetics)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)

    def seen(self, batch: ClipBatch, *, learning: bool) -> Seen:
        height, width = batch.clips.shape[2:4]
        change = batch.task == TASKS.index("change")
        cut = pieces(
            batch.clips,
            self.size or (width, height),
            early=change,
            at_random=learning,
            flip=learning and self.flip,
        )
        still = (cut.motion < self.min_motion) & ~change
        clips = cut.clips[:, :1].expand_as(cut.clips) if self.probe == "frozen" else cut.clips
        if not learning:
            x = recoloured(clips, normalising(len(clips), self.mean, self.std))
            if self.probe == "blank":
                h, w = x.shape[3:]
                x[..., h // 5 : h - h // 5, w // 5 : w - w // 5] = 0
            return Seen(x, ~still)
        x = recoloured(clips, jittered(clips, self.jitter, self.mean, self.std))
        if self.blur:
            x = blurred(x, torch.rand(len(x), device=x.device) * self.blur)
        return Seen(masked(x, self.mask) if self.mask else x, ~still)

    def encoded(self, clips: Tensor) -> Tensor:
        vectors: Tensor = self.network(clips)
        return vectors

    def save_encoder(self, path: str | Path, data: PretextData, **about: Any) -> None:
        if not isinstance(data, ClipData):
            raise ConfigError(f"AnomalySSL: learns from ClipData, not from {type(data).__name__}")
        content = EncoderFile(
            kind="video",
            network=self.encoder,
            weights=self.network.state_dict(),
            frames=data.length,
            size=data.size,
            mean=MEAN,
            std=STD,
            about={**about, "version": __version__},
        )
        write_encoder(path, content)

    def take_over(self, path: str | Path) -> str:
        return matching(self.network, read_encoder(path))
