"""Which reader is right for a file?"""

from pathlib import Path
from typing import Literal

from vad.errors import VideoError
from vad.video.video_reader import VideoReader


def open_video(path: str | Path, *, backend: Literal["pyav", "decord"] = "pyav") -> VideoReader:
    """Open a video file, or a folder of images, for random and sequential access.

    The first opening of a file reads all its packets, and decodes all of it only where nothing else tells the order of
    its frames; the verdict is kept in `$VAD_CACHE/readers/`, by path, size and modification time.

    Args:
        path: A file, or a folder whose images are the frames.
        backend: What reads a file. Our choice: PyAV, which is right in every container and was faster than decord on
            whole frames in every file measured (`experiments/speed/reader.py`).

    Raises:
        VideoError: The file is missing, is no video, is cut off or damaged, or decord is asked for and
            would not be right; it names the file and the reason.
    """
    path = Path(path)
    if path.is_dir():
        from vad.video.image_folder import ImageFolderReader

        return ImageFolderReader(path)
    if not path.is_file():
        raise VideoError(path, "no such file")
    from vad.video.examine import examine
    from vad.video.pyav_reader import PyAVReader
    from vad.video.verdict import keep_verdict, load_verdict

    verdict = load_verdict(path)
    if verdict is None:
        verdict = examine(path)
        keep_verdict(path, verdict)
    if backend == "decord":
        from vad.video.decord_reader import DecordReader

        return DecordReader(path, verdict)
    return PyAVReader(path, verdict)
