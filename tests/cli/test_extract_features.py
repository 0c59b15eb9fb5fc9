"""`vad extract features` computes one link, and an experiment file names recipes of features by their class."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from numbered import NumberEncoder, numbered_footage

from vad import cache
from vad.benchmarks import Footage
from vad.cli.experiment import parse
from vad.cli.main import main
from vad.extract.encoders import EfficientNetLite0
from vad.extract.features import FeatureRecipe

EXPERIMENT = """
seed_everything: 0
model:
  class_path: vad.methods.mil_hims.MILHIMS
  init_args: {{}}
data:
  class_path: vad.datamodules.bags.BagData
  init_args:
    benchmark: {{class_path: Footage, init_args: {{root: {root}}}}}
    features:
      - class_path: vad.extract.features.FeatureRecipe
        init_args:
          encoder: {{class_path: vad.extract.encoders.EfficientNetLite0}}
          outputs: [mean, difference]
      - class_path: vad.extract.features.FeatureRecipe
        init_args: {{encoder: {{class_path: numbered.NumberEncoder}}, stretch: true}}
trainer: {{max_epochs: 1, accelerator: cpu, devices: 1}}
"""


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two short videos."""
    root = tmp_path_factory.mktemp("features") / "footage"
    numbered_footage(root, (20, 9))
    return root


def test_one_link(footage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", "features", "--benchmark", str(footage), "--splits", "test"]
    words += ["--encoder", "numbered.NumberEncoder", "--stretch", "true", "--tail", "drop"]
    words += ["--outputs", "[mean, difference]", "--device", "cpu"]
    assert main(words) == 0
    assert ": 2 computed, 0 there already, 29 frames in" in capsys.readouterr().out
    recipe = FeatureRecipe(encoder=NumberEncoder(), stretch=True, tail="drop", outputs=("mean", "difference"))
    entry = cache.entry(Footage(str(footage)).dataset, recipe, "0")
    assert entry.read("mean").tolist() == [[[7.5, 15]]] and entry.read("difference").tolist() == [[[1, 2]]]
    assert main(words) == 0
    assert ": 0 computed, 2 there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "encoder"),
        (["--encoder", "Nothing"], "Nothing"),
        (["--encoder", "EfficientNetLite0", "--encoder.precision", "int8"], "precision"),
        (["--encoder", "EfficientNetLite0", "--crops", "3"], "crops"),
        (["--encoder", "EfficientNetLite0", "--stride", "17"], "stride"),
        (["--encoder", "FileEncoder", "--encoder.path", "gone.pt"], "gone.pt: there is no such file"),
    ],
)
def test_mistakes_are_one_line(
    footage: Path, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", "features", "--benchmark", str(footage), "--splits", "test", *words]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["extract", "features", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert [field.name for field in fields(FeatureRecipe) if f"--{field.name}" not in out] == []
    assert "EfficientNetLite0" in out and "TransformersEncoder" in out and "FileEncoder" in out


def test_recipes_from_a_file_are_those_made_in_python(footage: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT.format(root=footage))
    experiment = parse(["--config", str(path), "--log", "csv"])
    packaged, own = experiment.data.recipes()
    assert packaged.key == FeatureRecipe(encoder=EfficientNetLite0(), outputs=("mean", "difference")).key
    assert own.key == FeatureRecipe(encoder=NumberEncoder(), stretch=True).key
    dumped = tmp_path / "config.yaml"  # as a run keeps it
    dumped.write_text(yaml.safe_dump(dict(experiment.settings.config)))
    assert [recipe.key for recipe in parse(["--config", str(dumped)]).data.recipes()] == [packaged.key, own.key]
    words = ["--config", str(path), "--data.features", "[{class_path: vad.extract.features.FeatureRecipe, init_args: "]
    words[-1] += "{encoder: {class_path: vad.extract.encoders.EfficientNetLite0, init_args: {precision: bf16}}}}]"
    (other,) = parse(words).data.recipes()
    assert other.key == FeatureRecipe(encoder=EfficientNetLite0(precision="bf16")).key
