"""How fast do clips of pretext tasks get to a training? Ratios in one run: `python experiments/speed/clips.py`.

    decoded     frames of clips per second that `ClipData` decodes on the fly, at native size and frame step 1, four
                clips of a window, to plain `ffmpeg` decoding of the same files to RGB, a call a file       >= 0.5
    one reader  the same to random clips, each from a reader that is opened for it                          >= 3
    device      on a GPU: clips per second of R(2+1)D-18, and the share of time that it waits

Beside it: `ffmpeg` in one call for all files, eight clips of a window, and the small size of the experiments, decoded
and from the cache, to `ffmpeg` at that size. A window of 128 frames is read once for all of its clips, from the key
frame before it on; `ffmpeg` decodes every frame once and discards it. One process with one thread everywhere. CPU
seconds (children's included) do not see what else runs on the machine; wall time stands beside them.

Input, made here: 24 files of 300 to 600 frames, 320 x 240, H.264 with a key frame every 250 frames and three B-frames,
a still scene with things that move and noise; or with `--root FOLDER` the files below it of the most common size.

`--memory` measures memory instead: 2,000 clips of 160 files with two workers, which should stay flat.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import lightning.pytorch as pl
import numpy as np
import torch
from torch.utils.data import DataLoader

from vad.benchmarks import Footage
from vad.datamodules.clips import ClipData
from vad.extract.frames import FrameRecipe
from vad.extract.launch import extract
from vad.methods.anomaly_ssl import AnomalySSL
from vad.training import Throughput
from vad.types import ClipBatch
from vad.video import open_video

FILES, SIZE, SMALL, LENGTH, BATCH = 24, (320, 240), (160, 120), 16, 16
Work = Callable[[int], int]  # number of the turn -> frames


def write_footage(path: Path, frames: int, seed: int) -> None:
    """A still scene in which three things move, with noise, encoded as recorders and video sites do."""
    random = np.random.default_rng(seed)
    width, height = SIZE
    scene = random.integers(40, 200, (height // 8, width // 8, 3), np.int16).repeat(8, 0).repeat(8, 1)
    noise = random.normal(0, 4, (height + 64, width, 3)).astype(np.int16)
    things = random.integers(0, 255, (3, 60, 30, 3), np.int16)
    pace = random.uniform(0.5, 3, 3)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "x264-params": "keyint=250:bframes=3"}
        for number in range(frames):
            picture = scene + noise[(shift := int(random.integers(64))) : shift + height]
            for which, thing in enumerate(things):
                x = int(pace[which] * number) % (width - 30)
                picture[60 * which + 30 : 60 * which + 90, x : x + 30] = thing
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def generated(folder: Path, count: int) -> None:
    """Write files of 300 to 600 frames; more than `FILES` of them are copies."""
    paths = [folder / f"{number:03d}.mp4" for number in range(count)]
    lengths = np.random.default_rng(0).integers(300, 601, FILES)
    for number, path in enumerate(paths):
        if number < FILES:
            write_footage(path, int(lengths[number]), number)
        else:
            shutil.copy(paths[number % FILES], path)


def of_one_size(root: Path) -> list[Path]:
    """The files below a folder of the most common size."""
    sizes: dict[Path, tuple[int, int]] = {}
    for video in Footage(str(root)).videos("test"):
        if video.path is not None and video.path.is_file() and video.size is not None:
            sizes[video.path] = video.size
    common = Counter(sizes.values()).most_common(1)[0][0]
    return [path for path, size in sizes.items() if size == common]


def clip_data(root: Path, **options: Any) -> ClipData:
    """Clips at frame step 1 of all files below a folder: the tasks that need no other step."""
    shared: dict[str, Any] = {"tasks": ("order", "arrow", "change"), "steps": (1,), "length": LENGTH, "validation": 0.0}
    return ClipData(benchmark=Footage(str(root)), **{"batch_size": BATCH, **shared, **options})


def ours(loader: DataLoader) -> Work:
    """The batches of a turn, each turn with the next windows."""

    def turn(number: int) -> int:
        loader.sampler.set_epoch(number)  # type: ignore[attr-defined]  # what Lightning calls
        return sum(len(batch) * LENGTH for batch in loader)

    return turn


def reader_each(paths: Sequence[Path], lengths: Sequence[int], clips: int) -> Work:
    """Random clips at native size, each from a reader of its own, stacked to batches."""

    def turn(number: int) -> int:
        random = np.random.default_rng(number)
        for _ in range(clips // BATCH):
            read = []
            for which in random.integers(len(paths), size=BATCH):
                start = int(random.integers(lengths[which] - LENGTH + 1))
                with open_video(paths[which]) as reader:
                    read.append(reader.frames(range(start, start + LENGTH)))
            torch.from_numpy(np.stack(read))
        return clips * LENGTH

    return turn


def ffmpeg(inputs: Sequence[Sequence[str]], size: tuple[int, int], frames: int) -> Work:
    """Plain decoding to RGB, a call for each list of input options; raises where other than `frames` come out."""

    def calls(target: str) -> list[list[str]]:
        scale = f"scale={size[0]}:{size[1]}:flags=bilinear"
        ends = ["-vf", scale, "-vsync", "0", "-pix_fmt", "rgb24", "-f", "rawvideo", "-y", target]
        quiet = ["ffmpeg", "-nostdin", "-v", "fatal", "-filter_threads", "1", "-threads", "1"]
        return [[*quiet, *given, *ends] for given in inputs]

    written = 0
    for call in calls("pipe:1"):
        with subprocess.Popen(call, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while part := process.stdout.read(1 << 20):
                written += len(part)
    if written != frames * size[0] * size[1] * 3:
        raise SystemExit(f"ffmpeg gave {written / (size[0] * size[1] * 3):.1f} of {frames} frames: nothing to compare")

    def turn(number: int) -> int:
        for call in calls("/dev/null"):
            subprocess.run(call, check=True)
        return frames

    return turn


def rates(works: dict[str, Work], repeats: int) -> dict[str, np.ndarray]:
    """Frames per CPU second and per second of wall time (repeats, 2), in turns after one that does not count."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(repeats + 1):
        for name, work in works.items():
            cpu, wall = clock(), time.perf_counter()
            frames = work(number)
            if number:
                found[name].append((frames / (clock() - cpu), frames / (time.perf_counter() - wall)))
    return {name: np.array(of_turns) for name, of_turns in found.items()}


def clock() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def show(name: str, taken: np.ndarray, reference: np.ndarray, target: str = "") -> None:
    """One line: medians of the ratio by CPU and by wall time, the former's spread, and what it should be."""
    cpu, wall = (taken / reference).T
    spread = f"({cpu.min():.2f} to {cpu.max():.2f})"
    print(f"    {name:<36} {np.median(cpu):6.2f}  {spread:<16} wall {np.median(wall):6.2f}   {target}", flush=True)


def compare(root: Path, options: argparse.Namespace) -> None:
    """Print what clips per second are to plain decoding, and to a reader for each clip."""
    steps = {"checkpoint_every": options.clips // BATCH}
    first = clip_data(root)
    videos = first.fit_videos()
    size, lengths = videos[0].size, [video.frames or 0 for video in videos]
    paths = [video.path for video in videos if video.path is not None]
    assert size is not None
    recipe = FrameRecipe(size=SMALL)
    extract([recipe], first.benchmark, first.needed)
    data = {
        "4 clips of a window": clip_data(root, size=size, per_window=4, **steps),
        "8 clips of a window": clip_data(root, size=size, per_window=8, **steps),
        "small, 4 clips of a window": clip_data(root, size=SMALL, per_window=4, **steps),
        "small, from the cache": clip_data(root, frames=recipe, per_window=4, **steps),
    }
    works = {name: ours(of_name.train_dataloader()) for name, of_name in data.items()}
    works["reader"] = reader_each(paths, lengths, BATCH * max(1, options.clips // BATCH // 4))
    if shutil.which("ffmpeg"):
        frames = sum(lengths)
        each = [["-i", str(path)] for path in paths]
        listed = root / "files.txt"
        listed.write_text("".join(f"file '{path}'\n" for path in paths))
        works["ffmpeg"] = ffmpeg(each, size, frames)
        works["ffmpeg, one call"] = ffmpeg([["-f", "concat", "-safe", "0", "-i", str(listed)]], size, frames)
        works["ffmpeg, small"] = ffmpeg(each, SMALL, frames)
    print(
        f"{len(paths)} files of {size[0]} x {size[1]}, {sum(lengths)} frames; {options.clips} clips a turn, medians of"
    )
    print(f"{options.repeats} turns (range); ratios by CPU seconds, then by wall time")
    found = rates(works, options.repeats)
    if "ffmpeg" in found:
        for name in data:
            reference = "ffmpeg, small" if name.startswith("small") else "ffmpeg"
            target = ">= 0.5" if name == "4 clips of a window" else ""
            show(f"{name}, to ffmpeg", found[name], found[reference], target)
        show("4 clips of a window, to one call", found["4 clips of a window"], found["ffmpeg, one call"])
    else:
        print("    no ffmpeg on the path: nothing is compared to it")
    for name in ("4 clips of a window", "8 clips of a window"):
        show(f"{name}, to a reader each", found[name], found["reader"], ">= 3" if name.startswith("4") else "")
    for name, of_name in found.items():
        print(f"    frames per CPU second, {name:<28} {np.median(of_name[:, 0]):8.0f}")


def memory(root: Path) -> None:
    """Print the memory of this process and two workers over 2,000 clips."""
    clips, every = 2000, 250
    data = clip_data(root, size=SIZE, num_workers=2, checkpoint_every=clips // BATCH)
    print(f"{len(data.fit_videos())} files of {SIZE[0]} x {SIZE[1]}, two workers, clips of native size; MiB resident")
    batches = iter(data.train_dataloader())
    processes = [os.getpid(), *(worker.pid for worker in batches._workers)]  # type: ignore[attr-defined]
    print("    clips     main  workers")
    taken, found = 0, []
    for batch in batches:
        taken += len(batch)
        if taken // every > (taken - len(batch)) // every:
            found.append([resident(pid) for pid in processes])
            print(f"    {taken:5d} " + " ".join(f"{mib:8.0f}" for mib in found[-1]), flush=True)
    whole = np.array(found).sum(1)
    print(f"    peak {whole.max():.0f}; growth after the first {every} clips {whole[-1] - whole[0]:+.0f}")


def resident(pid: int) -> float:
    """MiB of a process that are its own: pages of batches on their way, which processes share, do not count."""
    _, pages, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(pages) - int(shared)) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Steps(pl.Callback):
    """Keeps the last batch, and the rates of each epoch."""

    def __init__(self) -> None:
        self.batch: ClipBatch | None = None
        self.rows: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, out: Any, batch: Any, i: int) -> None:
        self.batch = batch

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize()
        self.rows.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def on_device(root: Path, options: argparse.Namespace) -> None:
    """Print clips per second of a fit, and what of it the device waits: what steps on a batch that stays there tell."""
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: training is not measured")
        return
    data = clip_data(
        root,
        size=(171, 128),
        per_window=8,
        batch_size=options.batch_size,
        num_workers=options.workers,
        checkpoint_every=options.steps,
    )
    model = AnomalySSL(encoder=options.encoder, tasks=data.tasks)
    model.network.compile()
    kept = Steps()
    trainer = pl.Trainer(
        max_epochs=options.repeats + 1,
        accelerator=options.device,
        devices=1,
        precision="bf16-mixed",
        logger=False,
        callbacks=[Throughput(), kept],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(model, datamodule=data)
    device, batch = trainer.strategy.root_device, kept.batch
    assert batch is not None
    bare = resident_rate(model.to(device).train(), batch.to(device), options.steps, device)
    fit = statistics.median(row["samples_per_second"] for row in kept.rows[1:])  # the first compiles
    host = statistics.median(row["data_wait"] for row in kept.rows[1:])
    print(f"{options.encoder} at {LENGTH} x 112 x 112, batch {options.batch_size}, bf16, compiled, {options.device}:")
    print(
        f"    {fit:.0f} clips/s in a fit that decodes with {options.workers} workers, {bare:.0f} on a resident batch;"
    )
    print(f"    the device waits {max(0, 1 - fit / bare):.0%} of the time (between steps: {host:.0%})")


def resident_rate(model: AnomalySSL, batch: ClipBatch, steps: int, device: torch.device) -> float:
    """Clips per second of training steps on a batch that stays where it is."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)
    seconds = []
    for turn in range(4):
        started = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss, _ = model.terms(batch, learning=True)
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn:
            seconds.append(time.perf_counter() - started)
    return len(batch) * steps / statistics.median(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="real files, in place of generated ones")
    parser.add_argument("--memory", action="store_true", help="measure memory, and nothing else")
    parser.add_argument("--clips", type=int, default=192, help="clips of a turn, a multiple of 16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="of the training")
    parser.add_argument("--encoder", choices=("r2plus1d_18", "r3d_18", "small"), default="r2plus1d_18")
    parser.add_argument("--batch-size", type=int, default=64, help="of the training")
    parser.add_argument("--steps", type=int, default=20, help="of an epoch of the training")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="that decode for the training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VAD_CACHE"] = str(Path(folder) / "cache")
        root = Path(folder) / "footage"
        place = root / "weak_train"
        place.mkdir(parents=True)
        if options.memory:
            generated(place, 160)
            memory(root)
            return
        if options.root is None:
            generated(place, FILES)
        else:
            for path in of_one_size(options.root):
                (place / path.name).symlink_to(path.resolve())
        compare(root, options)
        on_device(root, options)


if __name__ == "__main__":
    main()
