"""Identity is what changes the numbers; what to do with a folder follows from configuration and folder alone."""

import copy
from pathlib import Path
from typing import Any

import pytest

from vad.errors import RunError
from vad.runs import (
    RunFolder,
    Settings,
    claim,
    decide,
    difference,
    find_run,
    folder_of_test,
    identity,
    lock,
    move_aside,
    read_config,
    variant,
    write_config,
)

CONFIG: dict[str, Any] = {
    "seed_everything": 0,
    "model": {"class_path": "vad.methods.lbr_spr.LBRSPR", "init_args": {"width": 32, "weights": None}},
    "data": {
        "class_path": "vad.datamodules.cubes.CubeData",
        "init_args": {
            "benchmark": {"class_path": "vad.benchmarks.ucsd_ped.UCSDPed2", "init_args": {"root": None}},
            "batch_size": 256,
            "num_workers": 0,
        },
    },
    "trainer": {"max_epochs": 30, "devices": "auto", "strategy": "auto", "precision": None, "logger": None},
    "paper_chain": [{"fill": {"value": -20}}],
    "checkpoint": "last",
    "name": None,
    "log": "wandb",
    "fresh": False,
    "out": None,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    *inner, last = path.split("/")
    place = config
    for key in inner:
        place = place[key]
    place[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trainer/devices", 2),
        ("trainer/strategy", "ddp"),
        ("trainer/num_nodes", 2),
        ("trainer/accelerator", "gpu"),
        ("trainer/logger", False),
        ("trainer/enable_progress_bar", False),
        ("data/init_args/num_workers", 4),
        ("data/init_args/benchmark/init_args/root", "/somewhere/else"),
        ("name", "mine"),
        ("log", "csv"),
        ("fresh", True),
    ],
)
def test_where_and_how_loudly_it_runs_is_no_part_of_identity(path: str, value: Any) -> None:
    assert identity(changed(path, value)) == identity(CONFIG)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed_everything", 1),
        ("model/init_args/width", 16),
        ("model/class_path", "vad.methods.other.Other"),
        ("data/init_args/batch_size", 64),
        ("data/init_args/benchmark/class_path", "vad.benchmarks.ucsd_ped.UCSDPed1"),
        ("trainer/max_epochs", 3),
        ("trainer/precision", "bf16-mixed"),
        ("trainer/an_argument_of_the_future", 1),
        ("paper_chain", None),
        ("checkpoint", "best"),
    ],
)
def test_what_changes_the_numbers_is_a_part_of_identity(path: str, value: Any) -> None:
    assert identity(changed(path, value)) != identity(CONFIG)


def test_the_root_tells_one_footage_from_another() -> None:
    footage = [
        changed(
            "data/init_args/benchmark", {"class_path": "vad.benchmarks.footage.Footage", "init_args": {"root": root}}
        )
        for root in ("/first", "/second")
    ]
    assert identity(footage[0]) != identity(footage[1])


def test_a_variant_is_named_after_what_was_overridden() -> None:
    base = identity(CONFIG)
    assert variant(base, base) == "base"
    named = variant(base, identity(changed("model/init_args/width", 16)))
    assert named.startswith("model.width=16-") and len(named) == len("model.width=16-") + 6
    ped1 = variant(base, identity(changed("data/init_args/benchmark/class_path", "vad.benchmarks.ucsd_ped.UCSDPed1")))
    assert ped1.startswith("benchmark=UCSDPed1-")


def test_long_variants_are_cut_and_still_differ() -> None:
    base = identity(CONFIG)
    long = [
        base | {f"model.argument_{i}": "/some path/with%odd:characters" for i in range(9)} | {"z": n} for n in (1, 2)
    ]
    names = [variant(base, wanted) for wanted in long]
    assert names[0] != names[1]
    for name in names:
        assert len(name) <= 67 and "/" not in name and " " not in name


def settings(config: dict[str, Any], out: Path, *, fresh: bool = False) -> Settings:
    return Settings(config=config, experiment="e", variant="base", seed=0, fresh=fresh, out=str(out))


@pytest.mark.parametrize("left", ["detector.ckpt", "encoder.ckpt"])
def test_a_folder_is_new_continued_finished_or_refused(tmp_path: Path, left: str) -> None:
    folder = RunFolder(tmp_path / "run")
    assert decide(CONFIG, folder).kind == "new"
    write_config(folder, CONFIG)
    assert decide(CONFIG, folder).kind == "continue"
    assert decide(changed("trainer/devices", 2), folder).kind == "continue"
    refused = decide(changed("model/init_args/width", 16), folder)
    assert refused.kind == "refuse"
    assert "model.width: 32 there, 16 here" in refused.reason and "--fresh" in refused.reason
    (folder.path / left).touch()
    assert decide(CONFIG, folder).kind == "finished"


def test_a_training_without_its_configuration_is_not_overwritten(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    assert decide(CONFIG, folder).kind == "refuse"


def test_deciding_writes_nothing(tmp_path: Path) -> None:
    decide(CONFIG, RunFolder(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_written_configuration_reads_back_as_the_same_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_config(folder, changed("fresh", True))
    assert difference(identity(read_config(folder)), identity(CONFIG)) == {}
    assert "fresh" not in read_config(folder), "a test of the run would be a fresh one for ever"


def test_fresh_moves_the_old_folder_aside_and_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAD_RUN", "")
    folder = RunFolder(tmp_path / "seed-0")
    for text in ("first", "second"):
        write_config(folder, changed("checkpoint", text))
        (folder.path / "kept.txt").write_text(text)
        _, decision = claim(settings(CONFIG, folder.path, fresh=True))
        assert decision.kind == "new" and not folder.path.exists()
    assert sorted(path.read_text() for path in tmp_path.rglob("kept.txt")) == ["first", "second"]
    assert move_aside(folder) is None


def test_ranks_of_lightnings_launcher_take_the_folder_that_they_are_handed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(RunFolder(tmp_path), changed("model/init_args/width", 16))
    monkeypatch.setenv("VAD_RUN", str(tmp_path))
    monkeypatch.setenv("LOCAL_RANK", "1")
    folder, decision = claim(settings(CONFIG, tmp_path / "other", fresh=True))
    assert folder.path == tmp_path and decision.kind == "continue" and folder.config.is_file()
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(RunError, match=r"model\.width"):
        claim(settings(CONFIG, tmp_path))


def test_fresh_is_refused_where_several_processes_would_move_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(RunFolder(tmp_path), CONFIG)
    for launcher in ({"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}):
        with monkeypatch.context() as patch:
            for name, value in launcher.items():
                patch.setenv(name, value)
            with pytest.raises(RunError, match="torchrun or srun"):
                claim(settings(CONFIG, tmp_path, fresh=True))


def test_a_test_on_another_benchmark_has_a_folder_of_its_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)

    def target(config: dict[str, Any]) -> Path:
        asked = Settings(config=config, experiment="e", variant="base", seed=0)
        return folder_of_test(run, CONFIG, asked).path

    assert target(changed("trainer/devices", 2)) == tmp_path
    other = "data/init_args/benchmark/class_path"
    assert target(changed(other, "vad.benchmarks.ucsd_ped.UCSDPed1")) == tmp_path / "test" / "UCSDPed1"
    smaller = target(changed("data/init_args/batch_size", 64))
    assert smaller.parent == tmp_path / "test" and smaller.name.startswith("UCSDPed2,batch_size=64")
    with pytest.raises(RunError, match=r"model\.width cannot be changed after training"):
        target(changed("model/init_args/width", 16))


def test_a_run_is_found_as_it_is_named_or_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAD_RUNS", str(tmp_path / "kept"))
    (tmp_path / "kept" / "e" / "base" / "seed-0").mkdir(parents=True)
    assert find_run("e/base/seed-0").path == tmp_path / "kept" / "e" / "base" / "seed-0"
    (tmp_path / "e" / "base" / "seed-0").mkdir(parents=True)
    assert find_run("e/base/seed-0").path == Path("e/base/seed-0")
    with pytest.raises(RunError, match="e/base/seed-1: there is no such run"):
        find_run("e/base/seed-1")


@pytest.mark.parametrize("text", ["", "- 1\n", "a: [\n", "\x00"])
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_text(text)
    with pytest.raises(RunError, match=r"config\.yaml"):
        read_config(folder)


def test_a_run_folder_is_taken_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    held = lock(folder)
    with pytest.raises(RunError, match="is being trained by another process"):
        lock(folder)
    held.close()
    lock(folder).close()
