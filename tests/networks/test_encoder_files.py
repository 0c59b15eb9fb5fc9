"""An encoder's file gives back what was written, tells weights apart by their values, and nothing else is read as
one."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from vad.errors import RunError
from vad.networks.encoder_files import EncoderFile, matching, read_encoder, write_encoder


def content(network: nn.Module) -> EncoderFile:
    return EncoderFile(
        kind="video",
        network="small",
        weights=network.state_dict(),
        frames=16,
        size=(85, 64),
        mean=(0.4, 0.4, 0.4),
        std=(0.2, 0.2, 0.2),
        about={"experiment": "e", "seed": 3},
        arguments={"width": 2},
    )


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Linear(4, 2))


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    written = content(network().to(memory_format=torch.channels_last_3d))  # type: ignore[call-overload]
    write_encoder(tmp_path / "encoder.ckpt", written)
    read = read_encoder(tmp_path / "encoder.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.ckpt"]
    for part in fields(EncoderFile):
        if part.name != "weights":
            assert getattr(read, part.name) == getattr(written, part.name)
    assert read.weights.keys() == written.weights.keys() and read.sha256 == written.sha256
    assert all(torch.equal(tensor, written.weights[name]) for name, tensor in read.weights.items())
    write_encoder(tmp_path / "rows.ckpt", replace(written, kind="snippet", size=None))
    assert read_encoder(tmp_path / "rows.ckpt").size is None


def test_a_path_is_no_plain_value_and_the_file_before_stays(tmp_path: Path) -> None:
    written = content(network())
    write_encoder(tmp_path / "encoder.ckpt", written)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_encoder(tmp_path / "encoder.ckpt", replace(written, about={"run": tmp_path}))
    assert read_encoder(tmp_path / "encoder.ckpt").about == written.about


def test_the_hash_is_of_names_and_values_alone() -> None:
    one = content(network())
    weights = dict(one.weights)
    assert replace(one, about={}, weights=dict(reversed(weights.items()))).sha256 == one.sha256
    last = {**weights, "0.weight": weights["0.weight"].to(memory_format=torch.channels_last_3d)}
    assert replace(one, weights=last).sha256 == one.sha256
    renamed = {f"a.{name}": tensor for name, tensor in weights.items()}
    moved = {**weights, "1.bias": weights["1.bias"] + 1e-6}
    folded = {**weights, "2.weight": weights["2.weight"].view(4, 2)}
    assert len({replace(one, weights=w).sha256 for w in (weights, renamed, moved, folded)}) == 4


def test_what_is_no_encoder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "encoder.ckpt"
    with pytest.raises(RunError, match=r"encoder\.ckpt: no such file"):
        read_encoder(path)
    torch.save({"weights": {}, "kind": "video"}, path)
    with pytest.raises(RunError, match=r"encoder\.ckpt: is not an encoder's file; vad fit"):
        read_encoder(path)
    torch.save(network(), path)
    with pytest.raises(RunError, match=r"encoder\.ckpt: .* more than tensors and plain values"):
        read_encoder(path)
    write_encoder(path, content(network()))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RunError, match=r"encoder\.ckpt: cannot be read"):
        read_encoder(path)


def test_tensors_of_the_same_name_and_shape_are_taken_over() -> None:
    theirs, ours = network(), nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Linear(4, 9))
    before = ours[2].weight.clone()
    found = matching(ours, content(theirs))
    assert found == "7 of 9 tensors taken over from 'small', 2 made anew, 2 left out"
    assert torch.equal(ours[0].weight, theirs[0].weight) and torch.equal(ours[2].weight, before)
    with pytest.raises(RunError, match="the encoder 'small' has no tensor of the name and shape of one in Linear"):
        matching(nn.Linear(7, 7), content(theirs))
