"""The run folder: layout, identity, and what to do with a folder that is there.

    $VAD_RUNS/<experiment>/<variant>/seed-<n>/
        config.yaml  provenance.json  log.csv  wandb/
        checkpoints/{last,best}.ckpt  detector.ckpt or encoder.ckpt  scores.npz  metrics.json
        test/<benchmark>/   the same scores.npz and metrics.json on another benchmark

Identity is what changes the numbers. Devices, nodes, strategy, loggers, progress bars, workers and roots are no part
of it: they neither name a run nor stop it from being continued.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import yaml

from vad import files
from vad.errors import RunError
from vad.files import runs_root as runs_root

Identity = Mapping[str, Any]  # dotted key without init_args -> JSON value

# Options of the command rather than of the experiment.
_COMMAND = {"config", "name", "log", "fresh", "out"}
# Arguments of the Trainer that say where and how loudly it runs. An argument that is not listed counts.
_TRAINER = {
    "accelerator",
    "barebones",
    "default_root_dir",
    "detect_anomaly",
    "devices",
    "enable_autolog_hparams",
    "enable_checkpointing",
    "enable_model_summary",
    "enable_progress_bar",
    "inference_mode",
    "log_every_n_steps",
    "logger",
    "model_registry",
    "num_nodes",
    "num_sanity_val_steps",
    "plugins",
    "profiler",
    "strategy",
    "sync_batchnorm",  # always on with several processes
    "use_distributed_sampler",
}
_DATA = {"num_workers", "in_memory"}


@dataclass(frozen=True)
class RunFolder:
    """Where the files of one run lie."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def detector(self) -> Path:
        return self.path / "detector.ckpt"

    @property
    def encoder(self) -> Path:
        return self.path / "encoder.ckpt"

    @property
    def finished(self) -> bool:
        """Whether a training ended here: what it leaves depends on the kind of method."""
        return self.detector.is_file() or self.encoder.is_file()

    @property
    def scores(self) -> Path:
        return self.path / "scores.npz"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def log(self) -> Path:
        return self.path / "log.csv"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    def test(self, benchmark: str) -> "RunFolder":
        """Where the scores on another benchmark lie."""
        return RunFolder(self.path / "test" / benchmark)


@dataclass(frozen=True)
class Settings:
    """What a command line asks for, before any class is instantiated.

    `config` is the parser's own dump: complete, resolved, and enough to reproduce the run.
    """

    config: Mapping[str, Any]
    experiment: str  # stem of the first configuration file
    variant: str
    seed: int
    fresh: bool = False
    out: str | None = None
    group: str | None = None  # in W&B, instead of experiment and variant: a sweep's name

    @property
    def folder(self) -> RunFolder:
        """`--out`, else `$VAD_RUNS/<experiment>/<variant>/seed-<n>`."""
        if self.out is not None:
            return RunFolder(Path(self.out))
        return RunFolder(runs_root() / self.experiment / self.variant / f"seed-{self.seed}")


@dataclass(frozen=True)
class Decision:
    """What a command does with a run folder, and why it refuses one."""

    kind: Literal["new", "continue", "finished", "refuse"]
    reason: str = ""


def identity(config: Mapping[str, Any]) -> Identity:
    """What changes the numbers, flat: `{"model": "vad.methods.lbr_spr.LBRSPR", "model.width": 32, ...}`."""
    return dict(sorted(_flatten("", {k: v for k, v in config.items() if k not in _COMMAND})))


def _flatten(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping) or not value:
        yield key, value
        return
    if set(value) <= {"class_path", "init_args", "dict_kwargs"} and "class_path" in value:
        yield key, value["class_path"]
        arguments = dict(value.get("init_args") or {}) | dict(value.get("dict_kwargs") or {})
        # A root says where a benchmark lies, not which one it is; a person's own footage is named by nothing else.
        if not str(value["class_path"]).endswith("Footage"):
            arguments.pop("root", None)
    else:
        arguments = dict(value)
    ignored = {"trainer": _TRAINER, "data": _DATA}.get(key, set())
    for name, inner in arguments.items():
        if name not in ignored:
            yield from _flatten(f"{key}.{name}" if key else str(name), inner)


def difference(first: Identity, second: Identity) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, `None` where a side lacks one."""
    keys = sorted(first.keys() | second.keys())
    return {key: (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)}


def variant(base: Identity, wanted: Identity) -> str:
    """The name of what was overridden: sorted `key=value`, cut to 60 characters, 6 digits of hash; else `base`.

    `base` is the identity of the experiment file alone with the same seed, so an override that says what the file says
    anyway gives the same run.
    """
    changed = {key: value for key, (_, value) in difference(base, wanted).items()}
    if not changed:
        return "base"
    given = {
        key: value for key, value in changed.items() if value is not None or key in wanted
    }  # the rest went with a class
    words = ",".join(f"{key.removeprefix('data.')}={_short(value)}" for key, value in given.items())
    readable = re.sub(r"[^A-Za-z0-9=.,+_-]+", "-", words)[:60].rstrip("-.,=")
    return f"{readable}-{files.hash_json(changed, 6)}"


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value.rsplit(".", 1)[-1] if re.fullmatch(r"[A-Za-z_][\w.]*", value) else value
    return json.dumps(value)


def decide(config: Mapping[str, Any], folder: RunFolder) -> Decision:
    """What to do with a folder: a function of the configuration and of what lies in the folder, which it only reads."""
    if not folder.config.is_file():
        if folder.path.is_dir() and (folder.checkpoints.exists() or folder.finished):
            return Decision(
                "refuse",
                f"{folder.path} holds a training but no config.yaml; give another --name, or --fresh to move it aside",
            )
        return Decision("new")
    changed = difference(identity(read_config(folder)), identity(config))
    if changed:
        listed = "; ".join(
            f"{key}: {json.dumps(old)} there, {json.dumps(new)} here" for key, (old, new) in changed.items()
        )
        return Decision(
            "refuse", f"{folder.path} is another run ({listed}); give another --name, or --fresh to move it aside"
        )
    return Decision("finished" if folder.finished else "continue")


def folder_of_test(run: RunFolder, config: Mapping[str, Any], settings: Settings) -> RunFolder:
    """Where a test of `run` (whose own configuration is `config`) with further options writes.

    The run itself where nothing that counts was changed; `RUN/test/<benchmark>` for another benchmark, with the other
    changes of data in the name. Raises `RunError` for options that would make it another training.
    """
    if settings.out is not None:
        return RunFolder(Path(settings.out))
    own, wanted = identity(config), identity(settings.config)
    changed = difference(own, wanted)
    if trained := [key for key in changed if not re.match(r"data\b|paper_chain", key)]:
        raise RunError(f"{run.path}: {', '.join(trained)} cannot be changed after training; train another run with it")
    if not changed:
        return run
    benchmark = str(wanted["data.benchmark"]).rsplit(".", 1)[-1]
    same = {key: value for key, value in own.items() if not key.startswith("data.benchmark")}
    same |= {key: value for key, value in wanted.items() if key.startswith("data.benchmark")}
    if benchmark == "Footage" or not any(key == "data.benchmark" for key in changed):
        same = dict(own)  # arguments tell one footage, or one variant of a benchmark, from another
    rest = variant(same, wanted)
    return run.test(benchmark if rest == "base" else f"{benchmark},{rest}")


def find_run(name: str) -> RunFolder:
    """A run that a command line names: its folder, or the path of it below `$VAD_RUNS`; else a `RunError`."""
    for path in (Path(name), runs_root() / name):
        if path.is_dir():
            return RunFolder(path)
    raise RunError(f"{name}: there is no such run, here or below {runs_root()}")


def read_config(folder: RunFolder) -> dict[str, Any]:
    """`config.yaml` of a run; a folder without one, or a damaged one, is a `RunError`."""
    try:
        config = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{folder.path}: is no run folder, it holds no config.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{folder.config}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(config, dict):
        raise RunError(f"{folder.config}: holds no configuration")
    return config


def write_config(folder: RunFolder, config: Mapping[str, Any]) -> None:
    """Write the parser's dump, without what belongs to the command rather than to the run."""
    kept = {key: value for key, value in config.items() if key not in _COMMAND - {"name", "log"}}
    files.write_text(folder.config, yaml.safe_dump(kept, sort_keys=False, allow_unicode=True))


def move_aside(folder: RunFolder) -> Path | None:
    """Rename a folder to `<name>.<time>` beside itself; nothing is deleted. `None` if there was none."""
    if not folder.path.exists():
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside = folder.path.with_name(f"{folder.path.name}.{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = folder.path.with_name(f"{folder.path.name}.{stamp}-{number}")
    folder.path.rename(aside)
    return aside


def is_aside(name: str) -> bool:
    """Whether a folder's name is one that `move_aside` gives."""
    return re.search(r"\.\d{8}T\d{6}(-\d+)?$", name) is not None


def claim(settings: Settings) -> tuple[RunFolder, Decision]:
    """The folder that this process works in, and what to do with it.

    Lightning's own launcher starts its ranks after rank 0 has decided, and hands them the folder in `VAD_RUN`. Ranks
    that torchrun or srun started each decide for themselves, alike, since nobody writes before all have joined.

    Raises `RunError` for a folder of another run, and for `--fresh` where several processes would move it at once.
    """
    if "VAD_RUN" in os.environ and int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return RunFolder(Path(os.environ["VAD_RUN"])), Decision("continue")
    folder = settings.folder
    if settings.fresh and folder.path.exists():
        if launched_from_outside():
            raise RunError(
                "--fresh: cannot be used under torchrun or srun; move the folder aside, or give another --name"
            )
        move_aside(folder)
    decision = decide(settings.config, folder)
    if decision.kind == "refuse":
        raise RunError(decision.reason)
    os.environ["VAD_RUN"] = str(folder.path.absolute())
    return folder, decision


def lock(folder: RunFolder) -> IO[bytes]:
    """Take a run folder for this process, until the file returned is closed or the process ends, however it does.

    Raises `RunError` where another process has it. Where file systems know no locks, nothing is locked.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    stream = (folder.path / ".lock").open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise RunError(
            f"{folder.path}: is being trained by another process; wait for it, or give another --name"
        ) from None
    except OSError:
        pass
    return stream


def launched_from_outside() -> bool:
    """Whether torchrun or srun started this process as one of several."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "TORCHELASTIC_RUN_ID" in os.environ
    return several or ("SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1)
