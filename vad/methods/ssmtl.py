"""SSMTL: normal objects teach a network four tasks; an object on which it fails them is abnormal.

Paper: Georgescu, Barbalau, Ionescu, Khan, Popescu, Shah, "Anomaly Detection in Video via Self-Supervised and Multi-Task
Learning", CVPR 2021. Idea: one small 3D network serves four heads, which learn from normal videos alone.

    window (B, 25, H, W, C) around an object's frame, always its box
        -> 7 consecutive frames, forward | backward     -> encoder -> (B, D, 8, 8) -> head `arrow`          2 classes
        -> 7 frames, consecutive | with random gaps     -> encoder -> (B, D, 8, 8) -> head `irregularity`   2 classes
        -> 6 frames, without the middle one             -> encoder -> (B, D, 8, 8) -> head `middle`         that frame
        -> the middle frame alone                       -> encoder -> (B, D, 8, 8) -> head `distillation`   what a
                                                             frozen classifier and the detector say of it
    score: P(backward), P(irregular), error of the middle frame, error of the detector's class probabilities

The authors' code is not public. Widths of layers, the learning rate and the batch size are what is reported of the
paper; what no source tells is marked "Our choice".
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, cast, get_args

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from vad.aggregation import Fusion
from vad.distributed import summed, world_size
from vad.errors import ConfigError
from vad.methods.anomaly_detector import AnomalyDetector
from vad.training.randomness import random_order
from vad.types import TubeBatch

Head = Literal["arrow", "irregularity", "middle", "distillation"]

FRAMES = 7  # of a tube; the object's own is in the middle
EPS = 1e-3  # of BatchNorm: TensorFlow's default, in which the authors' code is written


class Encoder(nn.Module):
    """Convolutions 3x3x3 in three stages, each halved in space, the last one global over time: (B, channels, T, H, W)
    -> (B, D, H / 8, W / 8), for any T.

    Parameters for three channels: 43,008 (shallow, narrow), 168,960 (shallow, wide), 105,456 (deep, narrow), 418,272
    (deep, wide); multiply-adds of a tube of 7 x 64 x 64: 186, 669, 632 and 2,452 million.

    Args:
        channels: Colours of a frame.
        deep: Two convolutions a stage in place of one.
        wide: 32, 64 and 64 filters in place of 16, 32 and 32.
        inputs: Kinds of input that have a BatchNorm of their own.
    """

    def __init__(self, channels: int, *, deep: bool, wide: bool, inputs: int = 1) -> None:
        super().__init__()
        self.widths = (32, 64, 64) if wide else (16, 32, 32)
        self.depth = 2 if deep else 1
        outputs = [width for width in self.widths for _ in range(self.depth)]
        self.convolutions = nn.ModuleList(
            nn.Conv3d(before, after, 3, padding=1) for before, after in zip([channels, *outputs], outputs, strict=False)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm3d(width, eps=EPS) for width in outputs) for _ in range(inputs)
        )

    def forward(self, x: Tensor, kind: int = 0) -> Tensor:
        layers = zip(self.convolutions, cast(nn.ModuleList, self.norms[kind]), strict=True)
        for number, (convolution, norm) in enumerate(layers, start=1):
            x = norm(convolved(x, convolution))
            if number % self.depth == 0:  # before ReLU, which gives the same from a quarter of the values
                x = halved(x)
            x = functional.relu(x, inplace=True)
        return x.amax(2)


def convolved(x: Tensor, convolution: nn.Module) -> Tensor:
    """`convolution(x)` for (B, C, T, H, W), a convolution 3x3x3 with padding 1; of a single frame as of a picture.

    The neighbours in time of a single frame are zeros, so that the middle of the kernel gives the same for a third of
    the work. Also, in torch 2.13 on CPUs, conv3d of one frame with one channel, in bf16 and channels last, now and then
    returns memory that nobody wrote.
    """
    if x.shape[2] > 1:
        volume: Tensor = convolution(x)
        return volume
    weight, bias = cast(Tensor, convolution.weight), cast(Tensor, convolution.bias)
    return functional.conv2d(x[:, :, 0], weight[:, :, 1], bias, padding=1)[:, :, None]


def halved(x: Tensor) -> Tensor:
    """Maxima over 2 x 2 pixels of (B, C, T, H, W). Views of frames: on CPUs autocast pools volumes in fp32."""
    frames = functional.max_pool2d(rearrange(x, "b c t h w -> (b t) c h w"), 2)
    return rearrange(frames, "(b t) c h w -> b c t h w", b=len(x))


def classifier(inputs: int, outputs: int, *, cells: int, width: int = 32, hidden: int = 0) -> nn.Sequential:
    """Convolution 3x3, BatchNorm, ReLU, halved, linear: (B, inputs, cells, cells) -> (B, outputs)."""
    features = width * (cells // 2) ** 2
    layers: list[nn.Module] = [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width, eps=EPS)]
    layers += [nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten()]
    if hidden:
        layers += [nn.Linear(features, hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(hidden or features, outputs))


def decoder(widths: Sequence[int], channels: int, *, depth: int) -> nn.Sequential:
    """The encoder mirrored, for one frame: (B, D, H, W) -> (B, channels, 8 H, 8 W), linear.

    Args:
        widths: Of the encoder's stages.
        channels: Colours of a frame.
        depth: Convolutions after each doubling.
    """
    layers: list[nn.Module] = []
    inputs = widths[-1]
    for width in reversed(widths):
        layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width, eps=EPS), nn.ReLU(inplace=True)]
            inputs = width
    return nn.Sequential(*layers, nn.Conv2d(inputs, channels, 3, padding=1))


def consecutive(tubes: Tensor, frames: int = FRAMES) -> Tensor:
    """The `frames` frames (B, frames, ...) in the middle of a window (B, T, ...)."""
    length = tubes.shape[1]
    if length % 2 == 0 or length < frames:
        raise ConfigError(f"reach: the tubes hold {length} frames, expected an odd number of at least {frames}")
    start = (length - frames) // 2
    return tubes[:, start : start + frames]


def without_middle(tubes: Tensor) -> Tensor:
    """(B, T, ...) to (B, T - 1, ...)."""
    middle = tubes.shape[1] // 2
    return torch.cat([tubes[:, :middle], tubes[:, middle + 1 :]], 1)


def irregular_offsets(number: Tensor, max_stride: int) -> Tensor:
    """Frames of a tube relative to its middle one, int64 (B, 7), in steps of 1 to `max_stride` that are not all of 1.

    Uniform `number` int64 (B,), at least 0, give uniform and independent steps: its remainder says which of the
    `max_stride ** 6 - 1` ways it is.
    """
    half = FRAMES // 2
    power = max_stride ** torch.arange(2 * half, device=number.device)
    code = number % (max_stride ** (2 * half) - 1) + 1  # in digits of base `max_stride`; 0 would be steps of 1 alone
    stride = code[:, None] // power % max_stride + 1
    before, after = stride[:, :half].cumsum(1), stride[:, half:].cumsum(1)
    return torch.cat([-before.flip(1), torch.zeros_like(code)[:, None], after], 1)


def irregular(tubes: Tensor, number: Tensor, max_stride: int) -> Tensor:
    """Tubes (B, 7, ...) with gaps between their frames, out of windows (B, T, ...): see `irregular_offsets`."""
    middle, reach = tubes.shape[1] // 2, FRAMES // 2 * max_stride
    if middle < reach:
        raise ConfigError(
            f"max_stride: steps of up to {max_stride} reach {reach} frames to each side, but the tubes hold {middle}; "
            f"set reach: {reach} in the data"
        )
    rows = torch.arange(len(tubes), device=tubes.device)
    return tubes[rows[:, None], middle + irregular_offsets(number, max_stride)]


def pixels(tubes: Tensor, channels: int) -> Tensor:
    """uint8 (B, T, H, W, C) to float32 (B, channels, T, H, W) in [0, 1], channels last in memory.

    Grey tubes are spread over three equal channels where the network wants three.
    """
    if tubes.shape[-1] != channels:
        if tubes.shape[-1] != 1:
            raise ConfigError(f"channels: the tubes have {tubes.shape[-1]} colours, the network takes {channels}")
        tubes = tubes.expand(*tubes.shape[:-1], channels)
    frames = tubes.to(torch.float32, memory_format=torch.contiguous_format)
    return frames.div_(255).movedim(-1, 1)


def absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of absolute differences of each sample, fp32 (B,), whatever the precision of `output`."""
    return (output.float() - target.float()).abs().flatten(1).mean(1)


class SSMTL(AnomalyDetector):
    """Self-supervised multi-task learning on objects. Defaults are the paper's deep and wide network with all heads.

    Heads are fused by z-scores on training samples, each at least 0: our choice, since the paper's mean of the four
    cannot hear the distillation, whose mean over 80 classes is some hundred times smaller than the others. The paper's
    word: `fusion: mean`. The mean with a sum over the classes: `fusion: mean` and a weight of 80 for `distillation`.

    Args:
        heads: Which tasks are learned, and scored.
        deep: Two convolutions a stage in place of one.
        wide: 32, 64 and 64 filters in place of 16, 32 and 32.
        channels: Colours of a frame. 3 also for grey footage is the authors' setting (three equal ones); 1 is our
            choice for grey footage: the same picture, for less work.
        size: Width and height of a tube, a multiple of 16.
        max_stride: Longest step between frames of an irregular tube; the data's `reach` is 3 times this.
        teacher_classes: Logits of the teacher; 0 for none.
        detector_classes: Class probabilities of the detector; 0 for none. The head `distillation` then scores by the
            teacher's logits, which must come with the samples that are scored too.
        distillation_weight: Of its loss; the other tasks count 1.
        head_width: Filters of a classifying head.
        head_hidden: Width of a layer between filters and outputs; 0 for none.
        bounded: The predicted frame passes a sigmoid; linear otherwise.
        min_motion: Objects whose first and last frame differ by less everywhere, of 1, teach no arrow of time.
        flip: Mirror half of the training objects.
        per_task_bn: A BatchNorm of the encoder for each kind of input: 7 frames, 6, and 1. Our choice: one for all, as
            the paper presumably has it, learns from each kind apart and scores with a mixture that none of them has (on
            generated tubes its loss was 0.17 in training and 2.87 in validation; with three, 0.18 and 0.17).
        learning_rate: Of Adam.
        schedule: `constant` is the authors'; `cosine`, down to 0 over the training, is our choice, for few epochs.
        fusion: See `AnomalyDetector`.
        weights: See `AnomalyDetector`.
        clip: See `AnomalyDetector`.
        precise_batchnorm: See `AnomalyDetector`; over the samples of all tasks, as in training.
    """

    def __init__(
        self,
        *,
        heads: Sequence[Head] = ("arrow", "irregularity", "middle", "distillation"),
        deep: bool = True,
        wide: bool = True,
        channels: Literal[1, 3] = 3,
        size: int = 64,
        max_stride: int = 4,
        teacher_classes: int = 1000,
        detector_classes: int = 80,
        distillation_weight: float = 0.5,
        head_width: int = 32,
        head_hidden: int = 0,
        bounded: bool = False,
        min_motion: float = 0.0,
        flip: bool = False,
        per_task_bn: bool = True,
        learning_rate: float = 1e-3,
        schedule: Literal["constant", "cosine"] = "constant",
        fusion: Fusion = "zscore",
        weights: dict[str, float] | None = None,
        clip: float | None = 0.0,
        precise_batchnorm: bool = False,
    ) -> None:
        if not heads or len(set(heads)) < len(heads) or not set(heads) <= set(get_args(Head)):
            raise ConfigError(f"heads: expected some of {', '.join(get_args(Head))}, each once, got {list(heads)}")
        if size < 16 or size % 16:
            raise ConfigError(f"size: expected a multiple of 16, got {size}")
        if "irregularity" in heads and max_stride < 2:
            raise ConfigError(f"max_stride: expected at least 2, for steps of 1 are regular, got {max_stride}")
        if "distillation" in heads and max(teacher_classes, detector_classes) < 1:
            raise ConfigError(
                "teacher_classes, detector_classes: the head distillation has neither a teacher's logits nor a "
                "detector's probabilities to learn; give one of them, or leave it out of heads"
            )
        super().__init__(fusion=fusion, weights=weights, clip=clip, precise_batchnorm=precise_batchnorm)
        self.heads = tuple(heads)
        self.deep = deep
        self.wide = wide
        self.channels = channels
        self.size = size
        self.max_stride = max_stride
        self.teacher_classes = teacher_classes
        self.detector_classes = detector_classes
        self.distillation_weight = distillation_weight
        self.head_width = head_width
        self.head_hidden = head_hidden
        self.bounded = bounded
        self.min_motion = min_motion
        self.flip = flip
        self.per_task_bn = per_task_bn
        self.learning_rate = learning_rate
        self.schedule: Literal["constant", "cosine"] = schedule
        kinds = [bool({"arrow", "irregularity"} & set(heads)), "middle" in heads, "distillation" in heads]
        self._kind = [sum(kinds[:kind]) if per_task_bn else 0 for kind in range(3)]  # which norms serve 7, 6, 1 frames
        self.encoder = Encoder(channels, deep=deep, wide=wide, inputs=sum(kinds) if per_task_bn else 1)
        outputs = {"arrow": 2, "irregularity": 2, "distillation": teacher_classes + detector_classes}
        self.tasks = nn.ModuleDict()
        for head in self.heads:
            if head == "middle":
                self.tasks[head] = decoder(self.encoder.widths, channels, depth=self.encoder.depth)
            else:
                self.tasks[head] = classifier(
                    self.encoder.widths[-1], outputs[head], cells=size // 8, width=head_width, hidden=head_hidden
                )
        self.encoder.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack it
        self.tasks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._seen: list[dict[str, Tensor]] = []  # of each step of this epoch, on the device: sums over its objects
        self._validation: list[dict[str, Tensor]] = []  # of each batch

    def training_step(self, batch: TubeBatch, batch_idx: int) -> Tensor:
        step = self.trainer.global_step
        if self.flip:
            mirrored = random_order(batch.key, 2, step)[:, 1] % 2 == 1
            tubes = torch.where(mirrored[:, None, None, None, None], batch.tubes.flip(3), batch.tubes)
            batch = replace(batch, tubes=tubes)
        terms = self.terms(batch, step)
        self._seen.append(totals(terms))
        return terms["loss"].sum() / batch.size * world_size()  # gradients are averaged over processes

    def terms(self, batch: TubeBatch, step: int) -> dict[str, Tensor]:
        """What an object (B,) costs each head, fp32, the accuracies of two heads, and the weighted sum `loss`.

        A function of the samples and the step. The tube that runs forward is also the regular one, and is encoded once.
        """
        terms: dict[str, Tensor] = {}
        changed: dict[str, Tensor] = {}
        regular = consecutive(batch.tubes)
        if "arrow" in self.heads:
            changed["arrow"] = regular.flip(1)
        if "irregularity" in self.heads:
            number = random_order(batch.key, 1, step)[:, 0].long()
            changed["irregularity"] = irregular(batch.tubes, number, self.max_stride)
        if changed:
            features = self.encoded(torch.cat([regular, *changed.values()]), 0).chunk(1 + len(changed))
            for head, feature in zip(changed, features[1:], strict=True):
                logits = self.tasks[head](torch.cat([features[0], feature])).float()
                label = torch.arange(2, device=logits.device).repeat_interleave(len(feature))
                terms[head] = functional.cross_entropy(logits, label, reduction="none").view(2, -1).mean(0)
                terms[f"{head}_accuracy"] = (logits.argmax(1) == label).float().view(2, -1).mean(0)
        if self.min_motion and "arrow" in self.heads:
            difference = (regular[:, 0].float() - regular[:, -1].float()).abs().flatten(1).amax(1) / 255
            terms["arrow"] = terms["arrow"] * (difference >= self.min_motion)
        if "middle" in self.heads:
            terms["middle"] = self.middle_error(batch)
        if "distillation" in self.heads:
            if self.teacher_classes and batch.logits is None:
                raise ConfigError(
                    f"teacher_classes: the head distillation learns {self.teacher_classes} logits, but the tubes come "
                    "without; set teacher in the data, or teacher_classes: 0 here"
                )
            errors = self.distillation_errors(batch)
            terms |= {f"distillation_{name}": error for name, error in errors.items()}
            terms["distillation"] = torch.stack(list(errors.values())).sum(0)
        weights = {"distillation": self.distillation_weight}
        terms["loss"] = torch.stack([weights.get(head, 1.0) * terms[head] for head in self.heads]).sum(0)
        return terms

    def columns(self, batch: TubeBatch) -> dict[str, Tensor]:
        if self._estimating_batchnorm:
            return self.terms(batch, 0)
        columns: dict[str, Tensor] = {}
        if classifying := [head for head in self.heads if head in ("arrow", "irregularity")]:
            features = self.encoded(consecutive(batch.tubes), 0)
            for head in classifying:
                columns[head] = self.tasks[head](features).float().softmax(1)[:, 1]
        if "middle" in self.heads:
            columns["middle"] = self.middle_error(batch)
        if "distillation" in self.heads:
            errors = self.distillation_errors(batch)
            if not errors:
                raise ConfigError(
                    "detector_classes: the head distillation has learned a teacher's logits alone, and the tubes to be "
                    "scored come without; leave it out of heads, or take a detector"
                )
            columns["distillation"] = errors["classes" if "classes" in errors else "logits"]
        return {head: columns[head] for head in self.heads}

    def encoded(self, tubes: Tensor, kind: int) -> Tensor:
        """Features (B, D, H / 8, W / 8) of tubes uint8 (B, T, H, W, C); kinds are 0, 1, 2 for 7, 6, 1 frames."""
        if tubes.shape[2:4] != (self.size, self.size):
            raise ConfigError(f"size: the tubes are {tubes.shape[3]} x {tubes.shape[2]}, the network takes {self.size}")
        features: Tensor = self.encoder(pixels(tubes, self.channels), self._kind[kind])
        return features

    def middle_error(self, batch: TubeBatch) -> Tensor:
        """Mean absolute error of the middle frame as the frames around it tell it, fp32 (B,)."""
        tubes = consecutive(batch.tubes)
        predicted = self.tasks["middle"](self.encoded(without_middle(tubes), 1)).float()
        target = pixels(consecutive(tubes, 1), self.channels)[:, :, 0]
        return absolute_error(predicted.sigmoid() if self.bounded else predicted, target)

    def distillation_errors(self, batch: TubeBatch) -> dict[str, Tensor]:
        """Mean absolute errors fp32 (B,): `logits` of the teacher, where they are known, and `classes` of the
        detector."""
        said = self.tasks["distillation"](self.encoded(consecutive(batch.tubes, 1), 2)).float()
        logits, classes = said.split([self.teacher_classes, self.detector_classes], 1)
        errors: dict[str, Tensor] = {}
        if self.teacher_classes and batch.logits is not None:
            self._expect("teacher_classes", batch.logits)
            errors["logits"] = absolute_error(logits, batch.logits)
        if self.detector_classes:
            self._expect("detector_classes", batch.probability)
            errors["classes"] = absolute_error(classes.sigmoid(), batch.probability)
        return errors

    def _expect(self, name: str, target: Tensor) -> None:
        if target.shape[1] != getattr(self, name):
            raise ConfigError(
                f"{name}: the tubes come with {target.shape[1]}, the head distillation learns {getattr(self, name)}; "
                "give both the same number, or 0 for none"
            )

    def validation_step(self, batch: TubeBatch, batch_idx: int) -> None:
        self._validation.append(totals(self.terms(batch, 0)))  # every epoch sees the same irregular tubes

    def on_train_epoch_end(self) -> None:
        self.log_dict(means(self._seen))
        self._seen = []

    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"val_{name}": value for name, value in means(self._validation).items()})
        self._validation = []

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)
        if self.schedule == "constant":
            return optimizer
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def totals(terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sums over the objects of a batch, without gradient, and their number as `count`."""
    sums = {name: term.detach().sum() for name, term in terms.items()}
    return {**sums, "count": torch.full_like(sums["loss"], len(terms["loss"]))}


def means(batches: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Means over the objects of all batches and processes."""
    names = list(batches[0])
    sums = torch.stack([torch.stack([batch[name] for batch in batches]).double().sum() for name in names])
    *values, count = summed(sums).tolist()
    return {name: value / count for name, value in zip(names, values, strict=False)}
