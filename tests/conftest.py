"""What all tests share: one thread for torch, own cache and runs folders, real data where `$VAD_DATA` names them."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("WANDB_MODE", "offline")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run side by side; a thread pool for each would only slow them down."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the caches and runs of the person who starts it."""
    monkeypatch.setenv("VAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VAD_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def real_data() -> Path:
    """`$VAD_DATA`, or a skip with the reason."""
    root = Path(os.environ.get("VAD_DATA", "data"))
    if not (root / "ucsd_ped").is_dir():
        pytest.skip("needs real data: VAD_DATA names no folder with ucsd_ped below it")
    return root.resolve()
