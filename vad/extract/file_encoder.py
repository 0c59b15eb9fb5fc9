"""A network in one file, TorchScript or ONNX, on a device."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vad.errors import MissingExtraError, VadError
from vad.extract.encoders import in_batches

if TYPE_CHECKING:
    from vad.extract.encoders import FileEncoder

Network = Callable[[torch.Tensor], Any]  # float32 input in the file's layout -> its output, or several


class LoadedFileEncoder:
    """The network, with an input made as the settings say."""

    size: tuple[int, int]
    frames: int | None

    def __init__(self, settings: "FileEncoder", device: str) -> None:
        self.size, self.frames = settings.size, settings.frames
        self._settings = settings
        self._device = device
        path = Path(settings.path)
        if not path.is_file():
            raise VadError(f"{path}: there is no such file")
        self._network = _read_onnx(path, device) if path.suffix == ".onnx" else _read_torchscript(path, device)
        self._mean = torch.tensor(settings.mean, device=device)
        self._std = torch.tensor(settings.std, device=device)
        axes = "BHWC" if settings.frames is None else "BTHWC"
        self._order = [axes.index(axis) for axis in settings.layout]
        shape = {"B": 1, "T": settings.frames or 0, "H": settings.size[1], "W": settings.size[0], "C": 3}
        self(np.zeros([shape[axis] for axis in axes], np.uint8))  # what does not fit is said before a video is decoded

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        return in_batches(self._encode, clips, self._settings.batch)

    @torch.inference_mode()
    def _encode(self, clips: np.ndarray) -> np.ndarray:
        settings = self._settings
        x = torch.from_numpy(clips).to(self._device)
        x = x.flip(-1) if settings.channels == "BGR" else x
        x = ((x.float() * settings.scale - self._mean) / self._std).permute(self._order).contiguous()
        try:
            output = self._network(x)
        except Exception as error:  # of whatever the file holds
            # TorchScript puts a traceback around the reason, which stands last.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
            raise VadError(f"{settings.path}: fails on an input of {tuple(x.shape)} ({reason}); check layout") from None
        if not isinstance(output, torch.Tensor):
            if not isinstance(output, tuple | list) or not 0 <= settings.output < len(output):
                raise VadError(f"{settings.path}: has no output {settings.output}; it gives {type(output).__name__}")
            output = output[settings.output]
        if output.ndim < 2 or len(output) != len(clips):
            raise VadError(
                f"{settings.path}: expected output of ({len(clips)}, D, ...) for {len(clips)} inputs, "
                f"got {tuple(output.shape)}; check layout and output"
            )
        return output.float().flatten(2).mean(2).cpu().numpy() if output.ndim > 2 else output.float().cpu().numpy()


def _read_torchscript(path: Path, device: str) -> Network:
    try:
        with warnings.catch_warnings():  # that TorchScript is deprecated helps nobody who has such a file
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise VadError(f"{path}: is no TorchScript file ({reason}); a checkpoint has to be exported first") from None


def _read_onnx(path: Path, device: str) -> Network:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # processes share the machine's cores
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda") and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        index = torch.device(device).index or 0
        providers = [("CUDAExecutionProvider", {"device_id": index}), *providers]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own, which derive from nothing else
        raise VadError(
            f"{path}: is no ONNX file that onnxruntime can run ({' '.join(str(error).split())[:200]})"
        ) from None
    name = session.get_inputs()[0].name
    return lambda x: [torch.from_numpy(output) for output in session.run(None, {name: x.cpu().numpy()})]
