"""Weights are found by path or by name, and are what the name promises."""

import hashlib
from pathlib import Path

import pytest

from vad.cache import cache_root
from vad.errors import VadError
from vad.extract import weights
from vad.extract.detectors import YOLOX
from vad.extract.weights import Published, find_weights, weights_hash

CONTENT = b"the weights"
OTHER = b"the same weights in another export"
OTHER_HASH = hashlib.sha256(OTHER).hexdigest()
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A name whose file can be downloaded, from the path returned."""
    monkeypatch.setenv("VAD_DATA", str(tmp_path / "data"))
    source = tmp_path / "server" / "toy.onnx"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    monkeypatch.setattr(weights, "PUBLISHED", {"toy": Published("toy.onnx", (HASH, OTHER_HASH), source.as_uri())})
    return source


def test_a_known_name_has_its_hash_without_any_file(published: Path) -> None:
    published.unlink()
    assert weights_hash("toy") == HASH
    assert YOLOX(weights="toy").content()["weights"] == HASH


def test_a_known_name_is_looked_for_in_data_then_cache_then_downloaded(published: Path, tmp_path: Path) -> None:
    cached = cache_root() / "weights" / "toy.onnx"
    assert find_weights("toy") == cached and cached.read_bytes() == CONTENT
    published.unlink()
    assert find_weights("toy") == cached
    data = tmp_path / "data" / "weights" / "toy.onnx"
    data.parent.mkdir(parents=True)
    data.write_bytes(CONTENT)
    assert find_weights("toy") == data


def test_another_export_of_the_same_weights_is_the_same_recipe(published: Path) -> None:
    published.write_bytes(OTHER)
    assert find_weights("toy").read_bytes() == OTHER
    assert weights_hash("toy") == HASH


def test_another_content_than_the_name_promises_is_refused(published: Path) -> None:
    cached = cache_root() / "weights" / "toy.onnx"
    published.write_bytes(b"something else")
    with pytest.raises(VadError, match="another file than expected"):
        find_weights("toy")
    assert not cached.exists()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"something else")
    with pytest.raises(VadError, match="SHA-256 differs"):
        find_weights("toy")


def test_without_a_network_the_error_says_where_the_file_belongs(published: Path) -> None:
    published.unlink()
    with pytest.raises(VadError, match=rf"cannot be downloaded.*put toy\.onnx \(SHA-256 {HASH}\) into"):
        find_weights("toy")


def test_a_recipe_holds_the_hash_of_a_file_and_not_its_path(tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    first.write_bytes(CONTENT)
    second.write_bytes(CONTENT)
    assert YOLOX(weights=str(first)).content() == YOLOX(weights=str(second)).content()
    assert YOLOX(weights=str(first)).content()["weights"] == HASH
    second.write_bytes(b"changed")
    assert YOLOX(weights=str(second)).content()["weights"] != HASH


def test_neither_file_nor_name_is_an_error_that_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(VadError, match=r"no file 'yolo_nano'.*yolox_nano"):
        find_weights("yolo_nano")
    with pytest.raises(VadError, match=r"no file 'yolo_nano'"):
        weights_hash("yolo_nano")
