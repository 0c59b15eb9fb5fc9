"""Clips of this folder's tests, each made when it is first asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from video_clips import write_named


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a clip by its name in `video_clips`; tests must not change it."""
    folder = tmp_path_factory.mktemp("clips")
    return lambda name: write_named(name, folder)
