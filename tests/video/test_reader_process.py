"""Readers belong to one process and leave nothing behind."""

import gc
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vad.errors import VideoError
from vad.video import JoinedReader, VideoReader, open_video

Clip = Callable[[str], Path]


@pytest.fixture(params=["h264_b.mp4", "h264.ts", "decord", "folder", "joined"])
def reader(request: pytest.FixtureRequest, clip: Clip, tmp_path: Path) -> VideoReader:
    """One open reader of each kind, used once."""
    if request.param == "decord":
        pytest.importorskip("decord")
        opened: VideoReader = open_video(clip("h264_b.mp4"), backend="decord")
    elif request.param == "folder":
        from PIL import Image
        from videos import numbered_picture

        for number in range(3):
            Image.fromarray(numbered_picture(number)).save(tmp_path / f"{number}.png")
        opened = open_video(tmp_path)
    elif request.param == "joined":
        opened = JoinedReader([open_video(clip("h264_b.mp4"))])
    else:
        opened = open_video(clip(request.param))
    opened.frames([1])
    return opened


def test_a_reader_cannot_be_pickled(reader: VideoReader) -> None:
    with pytest.raises(TypeError, match="open the video in the process that reads it"):
        pickle.dumps(reader)


def test_a_closed_reader_is_refused(reader: VideoReader) -> None:
    with reader:
        pass
    with pytest.raises(VideoError, match="after its reader was closed"):
        reader.frames([0])
    with pytest.raises(VideoError, match="after its reader was closed"):
        next(iter(reader))


def use_in_child(reader: VideoReader, answers: "multiprocessing.Queue[str]") -> None:
    for use in (lambda: reader.frames([0]), lambda: next(iter(reader))):
        try:
            use()
            answers.put("read")
        except VideoError as error:
            answers.put(str(error))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused(reader: VideoReader) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=use_in_child, args=(reader, answers))
    child.start()
    assert all("was opened before a fork" in answers.get(timeout=30) for _ in range(2))
    child.join(30)
    reader.frames([0])  # the parent goes on


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("close", [True, False])
def test_300_readers_leave_no_files_threads_or_memory(close: bool, clip: Clip) -> None:
    names = ("h264_b.mp4", "h264_b.avi", "h264.ts")

    def use(name: str) -> None:
        reader = open_video(clip(name))
        reader.frames([0, 30, 31])
        next(iter(reader))
        if close:
            reader.close()

    for name in names * 10:
        use(name)
    gc.collect()
    before = open_files(), threading.active_count(), len(os.listdir("/proc/self/task")), resident_bytes()
    for name in names * 100:
        use(name)
    assert open_files() <= before[0]
    assert threading.active_count() == before[1]
    assert len(os.listdir("/proc/self/task")) <= before[2]
    assert resident_bytes() - before[3] < 20e6


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_reader_holds_no_file_before_it_is_read(clip: Clip) -> None:
    open_video(clip("h264_b.mp4"))
    gc.collect()
    before = open_files()
    readers = [open_video(clip("h264_b.mp4")) for _ in range(50)]
    assert open_files() <= before
    assert len(readers[0]) == 60


def test_the_package_imports_no_decoder() -> None:
    import subprocess
    import sys

    code = "import sys, vad.video; print([m for m in ('av', 'decord', 'torch', 'PIL', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
