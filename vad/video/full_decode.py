"""Decoding every frame once, in a process of its own that may hang or crash."""

import json
import subprocess
import sys
from pathlib import Path

from vad.errors import VideoError
from vad.video.reader import open_video


def decode_check(path: str | Path, timeout: float) -> int:
    """Frames of a video file or a folder of images after a full decode, which must end within `timeout` seconds.

    Raises `VideoError` where a frame cannot be decoded, the decoder crashes, or the time is over.
    """
    code = f"import sys; from {__name__} import main; main(sys.argv[1])"
    command = [sys.executable, "-c", code, str(path)]
    try:
        child = subprocess.run(command, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise VideoError(path, f"was not decoded within {timeout:g} s; allow more time, or leave it out") from None
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        raise VideoError(path, f"the decoder ended with {how}{': ' + lines[-1] if lines else ''}") from None
    if "reason" in answer:
        raise VideoError(answer["path"], answer["reason"])
    return int(answer["frames"])


def main(path: str) -> None:
    """Decode everything, and write what came of it as JSON to standard output."""
    try:
        with open_video(path) as reader:
            answer: dict[str, object] = {"frames": sum(1 for _ in reader)}
    except VideoError as error:
        answer = {"path": str(error.path), "reason": error.reason}
    sys.stdout.write(json.dumps(answer))
