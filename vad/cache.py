"""Has this been computed, by which recipe?

    $VAD_CACHE/<data set>/<kind>-<hash of the recipe>/recipe.json
                                                     /<escaped video id>/<name>.npy ... entry.json

A recipe is a frozen dataclass of everything that decides the content; its hash names the folder. `entry.json` is
written last and names the video's identity and the arrays: an entry without it does not exist.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np

from vad import files
from vad.errors import CacheError
from vad.files import cache_root as cache_root


@dataclass(frozen=True)
class Content:
    """Settings that decide what is computed. A field may itself be one; a recipe's hash is made of `content`."""

    def content(self) -> dict[str, Any]:
        """The class and every field as JSON values; overridden where a field names a file, whose hash counts."""
        return {"class": type(self).__name__, **{f.name: _plain(getattr(self, f.name)) for f in fields(self)}}


@dataclass(frozen=True)
class Recipe(Content):
    """Base of all recipes. A field that is a recipe is its *source*: what it builds on."""

    kind: ClassVar[str]  # first part of the folder's name: "objects", "crops", ...
    version: ClassVar[int]  # of the code behind the recipe: raise it when the same settings give other content

    def content(self) -> dict[str, Any]:
        """Kind, version and every field; the source's content is a part of it."""
        return {"kind": self.kind, "version": self.version, **super().content()}

    @property
    def key(self) -> str:
        """The name of the folder, kind and hash."""
        return f"{self.kind}-{files.hash_json(self.content())}"

    @property
    def source(self) -> "Recipe | None":
        """The recipe that this one builds on, if any."""
        return next((v for f in fields(self) if isinstance(v := getattr(self, f.name), Recipe)), None)


def _plain(value: Any) -> Any:
    """A setting as a JSON value; 2 and 2.0 are one setting, whichever of them a file or a default says."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Content):
        return value.content()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value


@dataclass(frozen=True)
class Entry:
    """The arrays of one video under one recipe."""

    folder: Path

    def exists(self, identity: Mapping[str, Any] | None = None) -> bool:
        """Whether the entry is complete and, if `identity` is given, was made from a video in that state."""
        if not (self.folder / "entry.json").is_file():
            return False
        return identity is None or files.read_json(self.folder / "entry.json")["identity"] == dict(identity)

    def read(self, name: str, *, mmap: bool = True) -> np.ndarray:
        """One array, memory-mapped by default; raises `CacheError` where it is missing or damaged."""
        described = self.describe()["arrays"].get(name)
        if described is None:
            raise CacheError(f"{self.folder}: holds no array '{name}'; delete the folder and extract again")
        array = files.read_npy(self.folder / f"{name}.npy", mmap=mmap)
        if [str(array.dtype), list(array.shape)] != described:
            raise CacheError(
                f"{self.folder / name}.npy: is not what entry.json says; delete the folder and extract again"
            )
        return array

    def describe(self) -> dict[str, Any]:
        """`identity`, `arrays` (name -> [dtype, shape]) and `extra` of a complete entry."""
        if not self.exists():
            raise CacheError(f"{self.folder}: is not in the cache")
        described = files.read_json(self.folder / "entry.json")
        if not isinstance(described, dict) or not isinstance(described.get("arrays"), dict):
            raise CacheError(f"{self.folder}/entry.json: is damaged; delete the folder and extract again")
        return described

    def write(
        self,
        arrays: Mapping[str, np.ndarray],
        *,
        identity: Mapping[str, Any],
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the whole entry under a temporary name, then put it in place of an old one.

        Several processes may write the same entry: the last rename wins, and every reader sees one of them whole.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        unique = f"{os.getpid()}.{os.urandom(4).hex()}"
        temporary = self.folder.parent / f".{self.folder.name[:100]}.{unique}{files.PARTIAL_SUFFIX}"
        try:
            for name, array in arrays.items():
                files.write_npy(temporary / f"{name}.npy", array)
            described = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
            files.write_json(
                temporary / "entry.json", {"identity": dict(identity), "arrays": described, "extra": dict(extra or {})}
            )
            for _ in range(3):  # another process may put its own entry in place between the two steps
                try:
                    temporary.rename(self.folder)
                    return
                except OSError:
                    shutil.rmtree(self.folder, ignore_errors=True)
            raise CacheError(f"{self.folder}: cannot be put in place")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def recipe_folder(dataset: str, recipe: Recipe) -> Path:
    """The folder of all entries of a recipe."""
    return cache_root() / dataset / recipe.key


def entry(dataset: str, recipe: Recipe, video_id: str) -> Entry:
    """Where the arrays of one video lie, or will lie."""
    return Entry(recipe_folder(dataset, recipe) / escape(video_id))


def declare(dataset: str, recipe: Recipe) -> None:
    """Write `recipe.json`, which makes the folder's hash readable."""
    path = recipe_folder(dataset, recipe) / "recipe.json"
    if not path.is_file():
        files.write_json(path, recipe.content())


def escape(video_id: str) -> str:
    """A video id as one path component that can be read back with `urllib.parse.unquote`."""
    escaped = quote(video_id, safe="#=@+ ")
    return escaped.replace(".", "%2E", 1) if escaped.startswith(".") else escaped
