"""Checkpoints: whole or not there, at the ends of epochs, with the log that belongs to them."""

import csv
import pickle
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from vad import files
from vad.errors import ConfigError, RunError
from vad.training import AtomicCheckpointIO, EpochCheckpoint, StepSeed, Throughput, load_weights_only


class Dropping(pl.LightningModule):
    """A network with dropout, so that a continued run shows whether it draws what the whole one drew."""

    def __init__(self, losses: tuple[float, ...] = (), interval: str = "step") -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.losses = losses
        self.interval = interval

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self.network(batch[0]).square().mean()
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        if self.losses:
            self.log("val_loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": self.interval}}


def fit(folder: Path, epochs: int, *, model: Dropping | None = None, callbacks: list[Any] | None = None) -> Dropping:
    """Train up to `epochs`, from the last checkpoint if there is one."""
    torch.manual_seed(0)
    model = model or Dropping()
    data = DataLoader(TensorDataset(torch.randn(24, 4)), batch_size=4)
    checkpoint = EpochCheckpoint(folder, log=folder / "log.csv")
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        plugins=[AtomicCheckpointIO()],
        callbacks=[StepSeed(0), *(callbacks or []), checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    last = str(checkpoint.last) if checkpoint.last.is_file() else None
    trainer.fit(model, data, data if model.losses else None, ckpt_path=last, weights_only=True)
    return model


def state(folder: Path) -> dict[str, Any]:
    return load_weights_only(folder / "last.ckpt")


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    elif isinstance(a, Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_a_continued_run_ends_with_the_same_weights_optimiser_and_log(tmp_path) -> None:
    fit(tmp_path / "whole", 4)
    fit(tmp_path / "parts", 1)
    (tmp_path / "parts" / "log.csv").write_text("epoch\n17\n")  # whatever a kill left: the checkpoint knows better
    fit(tmp_path / "parts", 3)
    fit(tmp_path / "parts", 4)
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "callbacks"):
        assert_equal(whole[key], parts[key])
    assert (tmp_path / "whole" / "log.csv").read_text() == (tmp_path / "parts" / "log.csv").read_text()


def test_dropout_differs_between_steps_and_not_between_runs(tmp_path) -> None:
    draws: list[list[float]] = []

    class Draw(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            draws[-1].append(float(torch.rand(())))

    for name in "ab":
        draws.append([])
        fit(tmp_path / name, 2, callbacks=[Draw()])
        torch.rand(7)  # draws between runs must not matter
    assert draws[0] == draws[1] and len(set(draws[0])) == 12


def test_log_csv_has_one_row_for_each_epoch_with_what_was_logged(tmp_path) -> None:
    fit(tmp_path, 3, callbacks=[Throughput()])
    with (tmp_path / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [row["step"] for row in rows] == ["6", "12", "18"]
    assert all(float(row["loss"]) > 0 and float(row["samples_per_second"]) > 0 for row in rows)
    assert all(0 <= float(row["data_wait"]) <= 1 for row in rows)


def test_best_ckpt_is_the_epoch_of_the_lowest_validation_loss(tmp_path) -> None:
    fit(tmp_path, 4, model=Dropping(losses=(3.0, 1.0, 2.0, 1.5)))
    assert load_weights_only(tmp_path / "best.ckpt")["epoch"] == 1
    assert state(tmp_path)["epoch"] == 3
    fit(tmp_path / "other", 2)
    assert not (tmp_path / "other" / "best.ckpt").exists(), "without validation nothing is best"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_training_that_diverges_ends_with_the_checkpoint_and_the_log_of_the_epoch_before(tmp_path, value) -> None:
    class Diverging(Dropping):
        def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
            self.log("loss", value if self.current_epoch == 2 else 1.0, on_step=False, on_epoch=True)
            return self.network(batch[0]).square().mean()

    with pytest.raises(RunError, match=rf"diverged in epoch 2: its loss is {value}; lower the learning rate$"):
        fit(tmp_path, 4, model=Diverging(losses=(2.0, 1.0, 0.0, 0.0)))
    assert state(tmp_path)["epoch"] == load_weights_only(tmp_path / "best.ckpt")["epoch"] == 1
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + 2


def test_a_schedule_of_epochs_is_refused_because_it_moves_after_the_checkpoint(tmp_path) -> None:
    with pytest.raises(ConfigError, match="interval: step"):
        fit(tmp_path, 1, model=Dropping(interval="epoch"))


def test_a_failed_save_leaves_the_old_checkpoint_and_no_partial_file(tmp_path, monkeypatch) -> None:
    io = AtomicCheckpointIO()
    io.save_checkpoint({"epoch": 1}, tmp_path / "last.ckpt")

    def full(content: Any, stream: Any) -> None:
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match=r"last\.ckpt.*No space"):
        io.save_checkpoint({"epoch": 2}, tmp_path / "last.ckpt")
    assert io.load_checkpoint(tmp_path / "last.ckpt") == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_is_written_beside_its_target(tmp_path, monkeypatch) -> None:
    folders = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        folders.append((self.parent, Path(target).parent))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt")
    assert folders == [(tmp_path, tmp_path)]


class Payload:
    """What a pickle could do."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("touched"),))


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Payload()}, tmp_path / "evil.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Payload()))
    for name in ("evil.ckpt", "plain.ckpt"):
        with pytest.raises(RunError, match=name):
            AtomicCheckpointIO().load_checkpoint(tmp_path / name, weights_only=False)
    assert not (tmp_path / "touched").exists()


def test_a_damaged_checkpoint_is_an_error_that_names_it(tmp_path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"weights": torch.arange(1000.0)}, path)
    content = path.read_bytes()
    for damaged in (b"", b"garbage", content[:-7], content[: len(content) // 2], b"\0" * 100 + content[100:]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"last\.ckpt"):
            load_weights_only(path)
    with pytest.raises(RunError, match="no such file"):
        load_weights_only(tmp_path / "absent.ckpt")


def test_every_file_goes_through_the_atomic_writer() -> None:
    assert AtomicCheckpointIO.save_checkpoint.__globals__["atomic_write"] is files.atomic_write
