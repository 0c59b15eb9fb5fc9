"""LBR-SPR: what is rare is reconstructed badly, even where the training material holds it.

Paper: Yu, Wang, Cai, Liu, Xu, Wu, "Deep Anomaly Discovery From Unlabeled Videos via Normality Advantage and Self-Paced
Refinement", CVPR 2022. Idea: an auto-encoder learns cubes of objects from unlabelled videos; anomalies are few, so
their error stays high (LBR), and cubes of high error count less and less while it learns (SPR).

    cubes (B, T, H, W, C) -> (B, T*C, H, W) -> auto-encoder -> squared error, summed     head `appearance`
                                            -> auto-encoder -> flow (B, T*2, H, W)       head `motion`, if asked for
    error of the batch -> mean + k * deviation -> weight of each cube; k shrinks with every step

Frames of the paper with bands (UCSD Ped1) have networks, a schedule of k and statistics for each band.
"""

import math
from typing import Any, Literal, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from vad.aggregation import Fusion
from vad.distributed import summed, world_size
from vad.errors import ConfigError
from vad.methods.anomaly_detector import AnomalyDetector
from vad.training.averaging import WeightAverage
from vad.types import CubeBatch

Weighting = Literal["none", "hard", "linear", "huber", "mixture"]


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Twice convolution 3x3, BatchNorm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Autoencoder(nn.Sequential):
    """Three times down, three times up, no skip connections, a linear last layer: (B, inputs, H, W) -> (B, outputs, H,
    W).

    With `width` 32 it has 2,534,671 parameters for 15 channels to 15, and 2,534,506 for 15 to 10, as the authors' code.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 32) -> None:
        layers: list[nn.Module] = [double_convolution(inputs, width)]
        for level in range(3):
            layers += [nn.MaxPool2d(2), double_convolution(width << level, width << level + 1)]
        for level in (3, 2, 1):
            channels = width << level
            layers += [
                nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1),
                double_convolution(channels, channels // 2),
            ]
        super().__init__(*layers, nn.Conv2d(width, outputs, 1))


def threshold_factor(t: Tensor | float, *, initial: float, rate: float) -> Tensor | float:
    """k of step t after the warm-up: `initial - rate * t`. It may fall below 1; the weights take at least 1."""
    return initial - rate * t


def spr_weights(error: Tensor, mean: Tensor, deviation: Tensor, k: Tensor | float, weighting: Weighting) -> Tensor:
    """Weight of each cube from its reconstruction error (B,); constants for the gradient.

    With `lam = mean + max(k, 1) * deviation`, and for the mixture `l1 = mean + deviation`, `l2 = max(mean + k *
    deviation, l1)`:

        hard      1 below lam, else 0
        linear    1 - L / lam below lam, else 0
        huber     1 below lam, else lam / L
        mixture   1 up to l1, 0 from l2, between them l1 * (l2 - L) / (L * (l2 - l1))

    A deviation of NaN (a batch of one cube) gives weights of 1, as comparisons with NaN are false in the authors' code.

    Source: the paper's self-paced refinement; closed forms as in the authors' code.
    """
    if weighting == "none":
        return torch.ones_like(error)
    one, zero = torch.ones_like(error), torch.zeros_like(error)
    k = torch.as_tensor(k, device=error.device, dtype=error.dtype)
    lam = mean + k.clamp_min(1) * deviation
    if weighting == "hard":
        weight = torch.where(error < lam, one, zero)
    elif weighting == "linear":
        weight = torch.where(error < lam, 1 - error / lam, zero)
    elif weighting == "huber":
        weight = torch.where(error < lam, one, lam / error)
    else:
        l1 = mean + deviation
        l2 = torch.maximum(mean + k * deviation, l1)
        span = torch.where(l2 > l1, l2 - l1, one)  # l2 == l1: nothing lies between, and nothing is divided by zero
        between = l1 * (l2 - error) / (error * span)
        weight = torch.where(error <= l1, one, torch.where(error >= l2, zero, between))
    return torch.where(deviation.isnan(), one, weight)


def batch_statistics(error: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased deviation of the errors (B,) of all processes' shares of a batch; NaN for a single cube."""
    values = error.double()
    count, total, squares = summed(torch.stack([values.new_tensor(len(values)), values.sum(), values.square().sum()]))
    mean = total / count
    variance = (squares - total * mean) / (count - 1)  # 0 / 0 for one cube
    return mean.to(error.dtype), variance.clamp_min(0).sqrt().to(error.dtype)


def learning_rate_factor(step: int, steps: int, schedule: Literal["constant", "cosine"], warmup: int = 50) -> float:
    """Factor of the learning rate: 1, or a rise over `warmup` steps and half a cosine down to 0 at `steps`. Our
    choice."""
    if schedule == "constant":
        return 1.0
    return min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / max(steps, 1))))


def pixels(cubes: Tensor, channels: int) -> Tensor:
    """uint8 (B, T, H, W, C) to float32 (B, T * channels, H, W) in [0, 1], frame after frame, channels last in memory.

    Grey cubes are spread over three equal channels where the network wants three.
    """
    if cubes.shape[-1] != channels:
        if cubes.shape[-1] != 1:
            raise ConfigError(f"channels: the cubes have {cubes.shape[-1]} colours, the network takes {channels}")
        cubes = cubes.expand(*cubes.shape[:-1], channels)
    frames = rearrange(cubes, "b t h w c -> b (t c) h w").contiguous(memory_format=torch.channels_last)
    return frames.float().div_(255)


def flow_planes(flow: Tensor | None) -> Tensor:
    """float16 (B, T, H, W, 2) to float32 (B, T * 2, H, W), frame after frame, x before y; neither scaled nor
    normalised."""
    if flow is None:
        raise ConfigError("motion: the network learns flow, but the cubes come without it; set flow: true in the data")
    planes = rearrange(flow, "b t h w c -> b (t c) h w")
    return planes.to(torch.float32, memory_format=torch.channels_last)


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Sum of squared differences of each sample, fp32 (B,), whatever the precision of `output`."""
    return (output - target).square().sum((1, 2, 3), dtype=torch.float32)


class LBRSPR(AnomalyDetector):
    """Localisation-based reconstruction with self-paced refinement. Defaults are the authors' on Ped2, without motion.

    The authors' `shrink_rate` is 0.005 on Ped2 and ShanghaiTech and 0.0001 on Avenue and Ped1; it can only have been
    chosen by the test's AUROC.

    Args:
        weighting: How cubes are weighted by their error after the warm-up; `none` is LBR alone.
        warmup_epochs: Epochs during which every cube counts 1.
        initial_k: k of the first step after the warm-up.
        shrink_rate: What k loses with every step.
        shrink_scaled: Our choice: k falls in the course of the authors' 25 epochs of batches of 256, whatever the
            number of epochs and the batch size here are: the rate is multiplied by (B / 256) * 25 / (epochs after the
            warm-up).
        motion: A second auto-encoder that tells the flow of the frames from their pixels; weights come from the first.
        bands: Number of groups of cubes, each with networks of its own (Ped1: 4).
        channels: Colours of a frame. 3 also for grey footage is the authors' setting (three equal ones); 1 is our
            choice for grey footage: the same picture, for less work.
        frames: Frames of a cube.
        width: Channels of the first layer.
        learning_rate: Of Adam.
        schedule: `constant` is the authors'; `cosine` is our choice, for few epochs.
        average: Decay of an exponential moving average of the weights, which then scores; 0 for none, as the authors.
            Our choice, to be taken with `precise_batchnorm`.
        compile_networks: Compile the networks (minutes at the start, worth it on a GPU).
        fusion: See `AnomalyDetector`; the authors' is z-scores of each band.
        weights: Weight of each head; `None` for the authors' 0.5 for appearance and 1 for motion (0.1 and 1 on
            ShanghaiTech).
        clip: See `AnomalyDetector`.
        precise_batchnorm: See `AnomalyDetector`.
    """

    shrink_steps: Tensor  # int64 (bands,): steps after the warm-up
    k: Tensor  # float32 (bands,): of the last step

    def __init__(
        self,
        *,
        weighting: Weighting = "mixture",
        warmup_epochs: float = 5,
        initial_k: float = 4.0,
        shrink_rate: float = 0.005,
        shrink_scaled: bool = False,
        motion: bool = False,
        bands: int = 1,
        channels: Literal[1, 3] = 3,
        frames: int = 5,
        width: int = 32,
        learning_rate: float = 1e-3,
        schedule: Literal["constant", "cosine"] = "constant",
        average: float = 0.0,
        compile_networks: bool = False,
        fusion: Fusion = "zscore",
        weights: dict[str, float] | None = None,
        clip: float | None = None,
        precise_batchnorm: bool = False,
    ) -> None:
        for name, count in (("bands", bands), ("frames", frames), ("width", width)):
            if count < 1:
                raise ConfigError(f"{name}: expected at least 1, got {count}")
        if weights is None:
            weights = {"appearance": 0.5, "motion": 1.0} if motion else {"appearance": 1.0}
        super().__init__(fusion=fusion, weights=weights, clip=clip, precise_batchnorm=precise_batchnorm)
        self.weighting: Weighting = weighting
        self.warmup_epochs = warmup_epochs
        self.initial_k = initial_k
        self.shrink_rate = shrink_rate
        self.shrink_scaled = shrink_scaled
        self.motion = motion
        self.bands = bands
        self.channels = channels
        self.frames = frames
        self.width = width
        self.learning_rate = learning_rate
        self.schedule: Literal["constant", "cosine"] = schedule
        self.average = average
        self.compile_networks = compile_networks
        self.networks = nn.ModuleList(self._band(frames * channels) for _ in range(bands))
        self.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.averaged = WeightAverage(self.networks, average) if average > 0 else None
        self.register_buffer("shrink_steps", torch.zeros(bands, dtype=torch.int64))
        self.register_buffer("k", torch.full((bands,), float(initial_k)))
        self._seen: list[Tensor] = []  # of each step of this epoch, on the device: loss, share of cubes below weight 1
        self._validation: list[Tensor] = []  # of each batch: summed error, number of pixels

    def _band(self, inputs: int) -> nn.ModuleDict:
        networks: dict[str, nn.Module] = {"appearance": Autoencoder(inputs, inputs, self.width)}
        if self.motion:
            networks["motion"] = Autoencoder(inputs, self.frames * 2, self.width)
        return nn.ModuleDict(networks)

    @property
    def groups(self) -> int:
        return self.bands

    @property
    def leaves_unused(self) -> bool:
        return self.bands > 1  # a batch is of one band

    def training_step(self, batch: CubeBatch, batch_idx: int) -> Tensor:
        band = 0 if self.bands == 1 else int(batch.group[0])  # a number on the host: it waits for the device
        networks = self._networks(band)
        x = self._inputs(batch)
        weight = self.refine(networks["appearance"], x, band, batch_idx)
        loss = (weight * squared_error(networks["appearance"](x), x)).sum() / x[0].numel()
        if self.motion:
            flow = flow_planes(batch.flow)
            loss = loss + (weight * squared_error(networks["motion"](x), flow)).sum() / flow[0].numel()
        loss = loss / batch.size  # by the whole batch, not by the sum of weights: cubes that count less shrink the step
        self._seen.append(torch.stack([loss.detach(), (weight < 1).float().sum() / batch.size]))
        return loss * world_size()  # gradients are averaged over processes, each of which saw its share

    @torch.no_grad()
    def refine(self, network: nn.Module, x: Tensor, band: int, batch_idx: int) -> Tensor:
        """Weights (B,) of a batch, from the errors of an extra pass in evaluation mode, and a step of the band's k."""
        progress = self.trainer.current_epoch + batch_idx / self.trainer.num_training_batches
        if self.weighting == "none" or progress < self.warmup_epochs:
            return x.new_ones(len(x))
        network.eval()
        error = squared_error(network(x), x)
        network.train()
        mean, deviation = batch_statistics(error)
        k = threshold_factor(self.shrink_steps[band], initial=self.initial_k, rate=self._rate)
        self.k[band] = k
        self.shrink_steps[band] += 1
        return spr_weights(error, mean, deviation, k, self.weighting)

    def columns(self, batch: CubeBatch) -> dict[str, Tensor]:
        if self.bands == 1:
            return self._errors(self._networks(0), self._inputs(batch), batch.flow)
        columns: dict[str, Tensor] = {}
        for band in torch.unique(batch.group).tolist():
            rows = batch.group == band
            flow = None if batch.flow is None else batch.flow[rows]
            errors = self._errors(self._networks(band), self._inputs(batch)[rows], flow)
            for head, error in errors.items():
                columns.setdefault(head, error.new_empty(len(rows)))[rows] = error
        return {**columns, "group": batch.group}

    def validation_step(self, batch: CubeBatch, batch_idx: int) -> None:
        error = self.columns(batch)["appearance"].double()
        pixels_seen = error.new_tensor(len(error) * batch.cubes[0].numel() / batch.cubes.shape[-1] * self.channels)
        self._validation.append(torch.stack([error.sum(), pixels_seen]))

    def on_validation_epoch_end(self) -> None:
        error, pixels_seen = summed(torch.stack(self._validation).sum(0))
        self._validation = []
        self.log("val_loss", (error / pixels_seen).float())

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.compile_networks:
            for band in range(self.bands):
                for network in self._networks(band).values():
                    network.compile()

    def configure_optimizers(self) -> Any:
        # A band that a batch does not hold has no gradients, and Adam passes over it: bands learn as if alone.
        optimizer = torch.optim.Adam(self.networks.parameters(), lr=self.learning_rate, fused=True)
        if self.schedule == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        factor = lambda step: learning_rate_factor(step, steps, self.schedule)  # noqa: E731
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_batch_end(self, outputs: Any, batch: CubeBatch, batch_idx: int) -> None:
        if self.averaged is not None:
            self.averaged.update(self.networks, self.trainer.global_step)

    def on_train_epoch_end(self) -> None:
        loss, below = summed(torch.stack(self._seen)).mean(0).tolist()
        self._seen = []
        bands = {f"k_{band}": float(k) for band, k in enumerate(self.k)} if self.bands > 1 else {"k": float(self.k[0])}
        self.log_dict({"loss": loss, "below_full_weight": below, **bands})

    def finish(self) -> None:
        if self.averaged is not None:
            self.averaged.copy_to(self.networks)
            self.averaged = None

    def detector_state(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("averaged.")}

    def on_matching_loaded(self) -> None:
        self.shrink_steps.zero_()
        if self.averaged is not None:
            self.averaged = WeightAverage(self.networks, self.average)

    @property
    def _rate(self) -> float:
        if not self.shrink_scaled:
            return self.shrink_rate
        epochs = self.trainer.estimated_stepping_batches / self.trainer.num_training_batches - self.warmup_epochs
        batch_size = self.trainer.datamodule.batch_size  # type: ignore[attr-defined]  # of whatever datamodule there is
        return self.shrink_rate * batch_size / 256 * 25 / epochs

    def _inputs(self, batch: CubeBatch) -> Tensor:
        x = pixels(batch.cubes, self.channels)
        if x.shape[1] != self.frames * self.channels:
            raise ConfigError(f"frames: the cubes have {x.shape[1] // self.channels}, the network takes {self.frames}")
        return x

    def _networks(self, band: int) -> nn.ModuleDict:
        if band >= self.bands:
            raise ConfigError(f"bands: a cube is of band {band}, the model has {self.bands}; give both the same number")
        return cast(nn.ModuleDict, self.networks[band])

    def _errors(self, networks: nn.ModuleDict, x: Tensor, flow: Tensor | None) -> dict[str, Tensor]:
        errors = {"appearance": squared_error(networks["appearance"](x), x)}
        if self.motion:
            errors["motion"] = squared_error(networks["motion"](x), flow_planes(flow))
        return errors
