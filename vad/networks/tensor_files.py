"""Files of tensors and plain values, as `torch.save` writes them, read without running what they hold."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from vad.errors import RunError


def load_weights_only(path: str | Path, map_location: Any = "cpu") -> Any:
    """Read a file of tensors and plain values; what would run code, or is damaged, is a `RunError` that names the
    file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that it then refuses
            return torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200] or "it ends too early"
    except pickle.UnpicklingError:
        reason = "it holds more than tensors and plain values"
    raise RunError(f"{path}: cannot be read as a checkpoint ({reason}); delete it and run the command again")
