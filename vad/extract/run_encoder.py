"""The encoder that a run of a pretext method left behind, on a device."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from vad import files
from vad.errors import ConfigError, RunError
from vad.extract.encoders import in_batches
from vad.networks.encoder_files import EncoderFile, read_encoder
from vad.networks.video_encoders import VideoEncoder, VideoEncoderName, video_encoder

if TYPE_CHECKING:
    from vad.extract.encoders import RunEncoder

NAMED_BY = ("experiment", "variant", "seed")  # what tells one run from another, wherever their folders lie


class LoadedRunEncoder:
    """The network of an `encoder.ckpt`, channels last."""

    size: tuple[int, int]
    frames: int | None

    def __init__(self, settings: "RunEncoder", device: str) -> None:
        path = encoder_path(settings.run)
        file = read_video_encoder(path)
        assert file.size is not None
        self.size, self.frames = file.size, file.frames
        self._batch = settings.batch or (2 if device == "cpu" else 64)
        self._device = torch.device(device)
        self._half = settings.precision == "bf16"
        network = drawn(file) if settings.random else restored(file, path)
        network = network.eval().requires_grad_(False).to(device)
        self._network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # stubs lack it
        self._mean = torch.tensor(file.mean, device=device)
        self._std = torch.tensor(file.std, device=device)

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return in_batches(self._encode, clips, self._batch)

    @torch.inference_mode()
    def _encode(self, clips: np.ndarray) -> np.ndarray:
        x = (torch.from_numpy(clips).to(self._device).float() / 255 - self._mean) / self._std
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            vectors: torch.Tensor = self._network(x.movedim(-1, 1))  # channels last in memory
        return vectors.cpu().numpy()


def encoder_path(run: str) -> Path:
    """`encoder.ckpt` of a run, which is a folder or the path of one below `$VAD_RUNS`.

    Raises `RunError` where there is no such run, or it has no encoder.
    """
    folders = [folder for folder in (Path(run), files.runs_root() / run) if folder.is_dir()]
    for folder in folders:
        if (folder / "encoder.ckpt").is_file():
            return folder / "encoder.ckpt"
    parts = Path(run).parts
    command = f"'vad fit' of the experiment {parts[-3]}" if len(parts) >= 3 else "'vad fit' of its experiment"
    if folders:
        raise RunError(
            f"{folders[0]}: holds no encoder.ckpt; {command} writes it at its end, if it learns pretext tasks"
        )
    raise RunError(f"{run}: there is no such run, here or below {files.runs_root()}; {command} makes it")


def read_video_encoder(path: Path) -> EncoderFile:
    """The file of an encoder of frames; one of rows of features is a `ConfigError`."""
    file = read_encoder(path)
    if file.kind != "video" or file.size is None:
        raise ConfigError(f"{path}: is an encoder of features, not of frames; a method takes it over by --finetune")
    return file


def restored(file: EncoderFile, path: Path) -> VideoEncoder:
    """The network with the file's weights, every one of which must fit."""
    network = video_encoder(cast(VideoEncoderName, file.network))
    try:
        network.load_state_dict(file.weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: does not fit '{file.network}' of this version ({reason})") from None
    return network


def drawn(file: EncoderFile) -> VideoEncoder:
    """The network with weights drawn by seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return video_encoder(cast(VideoEncoderName, file.network))


def described(run: str) -> dict[str, Any]:
    """What a run's encoder is, as JSON values: the same wherever the run's folder lies."""
    path = encoder_path(run)
    state = path.stat()
    return dict(_described(path, state.st_size, state.st_mtime_ns))


@cache
def _described(path: Path, size: int, mtime_ns: int) -> dict[str, Any]:
    """Recipes ask again and again; a file is read once for each of its states."""
    file = read_video_encoder(path)
    assert file.size is not None
    return {
        "run": {name: file.about[name] for name in NAMED_BY if name in file.about},
        "weights": file.sha256,
        "network": file.network,
        "frames": file.frames,
        "size": list(file.size),
        "mean": list(file.mean),
        "std": list(file.std),
    }
