"""The encoder of a run describes clips as its network does, and features know which run they come from, not where."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numbered import numbered_footage

from vad import cache, files
from vad.benchmarks import Footage
from vad.cli.main import main
from vad.errors import ConfigError, RunError
from vad.extract.encoders import Encoder, RunEncoder
from vad.extract.features import FeatureRecipe
from vad.networks.encoder_files import EncoderFile, write_encoder
from vad.networks.video_encoders import VideoEncoder, video_encoder

RUN = "pretext/base/seed-3"
SIZE = (48, 32)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


@pytest.fixture(scope="module")
def network() -> VideoEncoder:
    """A network whose BatchNorm has seen something."""
    torch.manual_seed(7)
    network = video_encoder("small")
    network(torch.randn(2, 3, 8, 32, 48) + 1)
    return network.eval()


@pytest.fixture(scope="module")
def content(network: VideoEncoder) -> EncoderFile:
    return EncoderFile(
        kind="video",
        network="small",
        weights=network.state_dict(),
        frames=8,
        size=SIZE,
        mean=MEAN,
        std=STD,
        about={"experiment": "pretext", "variant": "base", "seed": 3, "version": "0.1.0"},
    )


@pytest.fixture
def runs(tmp_path: Path, content: EncoderFile, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs, of which one has an encoder."""
    monkeypatch.setenv("VAD_RUNS", str(tmp_path / "runs"))
    write_encoder(tmp_path / "runs" / RUN / "encoder.ckpt", content)
    return tmp_path / "runs"


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 8, SIZE[1], SIZE[0], 3), np.uint8)


def test_clips_become_what_the_runs_network_says_of_them(runs: Path, network: VideoEncoder) -> None:
    clips = noise(5)
    x = torch.from_numpy(((clips / 255 - MEAN) / STD).astype(np.float32)).permute(0, 4, 1, 2, 3)
    with torch.inference_mode():
        expected = network(x).numpy()
    encoder = RunEncoder(run=RUN, batch=2).load("cpu")
    assert encoder.size == SIZE and encoder.frames == 8
    found = encoder(clips)
    assert found.shape == (5, 128) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    half = RunEncoder(run=str(runs / RUN), precision="bf16").load("cpu")(clips)
    assert half.dtype == np.float32 and 1e-5 < np.abs(half - expected).max() < 0.05 * np.abs(expected).max()


def test_random_weights_are_the_same_each_time_and_not_the_runs(runs: Path) -> None:
    clips = noise(2)
    one = RunEncoder(run=RUN, random=True).load("cpu")(clips)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    other = RunEncoder(run=RUN, random=True).load("cpu")(clips)
    assert torch.equal(torch.random.get_rng_state(), state), "whoever loads it draws on as before"
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - RunEncoder(run=RUN).load("cpu")(clips)).max() > 0.01


def test_features_know_their_run_but_not_where_it_lies(
    runs: Path, tmp_path: Path, content: EncoderFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = RunEncoder(run=RUN).content()
    assert recorded["run"] == {"experiment": "pretext", "variant": "base", "seed": 3}
    assert recorded["weights"] == content.sha256 and recorded["size"] == [48, 32] and recorded["network"] == "small"
    assert str(tmp_path) not in str(recorded)
    shutil.copytree(runs / RUN, tmp_path / "elsewhere")
    assert RunEncoder(run=str(tmp_path / "elsewhere")).content() == recorded == RunEncoder(run=RUN, batch=3).content()
    key = FeatureRecipe(encoder=RunEncoder(run=RUN), snippet=8).key
    monkeypatch.setenv("VAD_RUNS", str(tmp_path))
    assert FeatureRecipe(encoder=RunEncoder(run="elsewhere"), snippet=8).key == key
    assert RunEncoder(run="elsewhere", precision="bf16").content() != recorded


def test_trained_anew_is_another_encoder_and_its_random_twin_the_same(runs: Path, content: EncoderFile) -> None:
    before, random = RunEncoder(run=RUN).content(), RunEncoder(run=RUN, random=True).content()
    assert random["weights"] == "random" and random["run"] is None
    weights = {name: tensor + 1 for name, tensor in content.weights.items()}
    write_encoder(runs / RUN / "encoder.ckpt", replace(content, weights=weights))
    assert RunEncoder(run=RUN).content() != before
    assert RunEncoder(run=RUN, random=True).content() == random


def test_runs_without_such_an_encoder_are_named(runs: Path, content: EncoderFile) -> None:
    with pytest.raises(
        RunError, match=r"pretext/base/seed-4: there is no such run.*'vad fit' of the experiment pretext"
    ):
        RunEncoder(run="pretext/base/seed-4").content()
    (runs / "pretext/base/seed-4").mkdir()
    with pytest.raises(RunError, match=r"seed-4: holds no encoder\.ckpt; 'vad fit' of the experiment pretext"):
        RunEncoder(run="pretext/base/seed-4").load("cpu")
    path = runs / RUN / "encoder.ckpt"
    write_encoder(path, replace(content, kind="snippet", size=None))
    with pytest.raises(ConfigError, match=r"encoder\.ckpt: is an encoder of features, not of frames"):
        RunEncoder(run=RUN).load("cpu")
    write_encoder(path, replace(content, weights={"stem.0.weight": content.weights["stem.0.weight"]}))
    with pytest.raises(RunError, match=r"encoder\.ckpt: does not fit 'small' of this version"):
        RunEncoder(run=RUN).load("cpu")
    with pytest.raises(ConfigError, match="RunEncoder: batch"):
        RunEncoder(run=RUN, batch=0)


# `vad extract features --encoder RUN`


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short video."""
    root = tmp_path_factory.mktemp("run_encoder") / "footage"
    numbered_footage(root, (20,))
    return root


def extract(footage: Path, *words: str) -> int:
    options = ["--splits", "test", "--snippet", "8", "--stretch", "true", "--device", "cpu"]
    return main(["extract", "features", "--benchmark", str(footage), *options, *words])


@pytest.mark.parametrize("where", ["a folder", "below the runs", "a folder beside"])
def test_a_run_stands_for_its_encoder(
    where: str, runs: Path, footage: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAD_CACHE", str(runs / "cache"))
    monkeypatch.chdir(runs / "pretext" / "base")
    name = {"a folder": str(runs / RUN), "below the runs": RUN, "a folder beside": "seed-3"}[where]
    assert extract(footage, "--encoder.batch", "2", f"--encoder={name}") == 0
    assert ": 1 computed, 0 there already" in capsys.readouterr().out
    encoder: Encoder = RunEncoder(run=RUN)
    recipe = FeatureRecipe(encoder=encoder, snippet=8, stretch=True)
    entry = cache.entry(Footage(str(footage)).dataset, recipe, "0")
    with Footage(str(footage)).open(Footage(str(footage)).videos("test")[0]) as reader:
        frames = reader.frames(range(8))
    assert entry.read("first").tolist() == [0, 8, 16] and entry.read("mean").shape == (3, 1, 128)
    import cv2

    clip = np.stack([cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA) for frame in frames])
    np.testing.assert_allclose(entry.read("mean")[0], encoder.load("cpu")(clip[None]), rtol=2e-3, atol=2e-3)
    described = files.read_json(entry.folder.parent / "recipe.json")
    assert described["encoder"]["run"] == {"experiment": "pretext", "variant": "base", "seed": 3}
    assert extract(footage, "--encoder", "RunEncoder", "--encoder.run", name) == 0
    assert ": 0 computed, 1 there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--encoder", "pretext/base/seed-9"], "there is no such run"),
        (["--encoder", "seed-3"], "seed-3"),
        (["--encoder", RUN, "--stride", "2"], "the encoder takes clips of 8 frames"),
        (["--encoder"], "encoder"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], reason: str, runs: Path, footage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(footage, *words) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
