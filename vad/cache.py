"""Has this been computed, by which recipe?

    $VAD_CACHE/<data set>/<kind>-<hash of the recipe>/recipe.json
                                                     /<escaped video id>/<name>.npy ... entry.json

A recipe is a frozen dataclass of everything that decides the content; its hash names the folder. `entry.json` is
written last and names the video's identity and the arrays: an entry without it does not exist.
"""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import numpy as np

from vad import files
from vad.errors import CacheError, VadError
from vad.files import cache_root as cache_root


@dataclass(frozen=True)
class Content:
    """Settings that decide what is computed. A field may itself be one; a recipe's hash is made of `content`."""

    speed_only: ClassVar[tuple[str, ...]] = ()  # fields that decide how fast it is computed, and nothing else

    def content(self) -> dict[str, Any]:
        """The class and every field that counts as JSON values; overridden where a field names a file, whose hash
        counts."""
        counting = (f.name for f in fields(self) if f.name not in self.speed_only)
        return {"class": type(self).__name__, **{name: _plain(getattr(self, name)) for name in counting}}


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
        """Whether the entry is complete and, if `identity` is given, was made from a video in that state.

        A damaged `entry.json` is of no state, so that extraction writes the entry anew.
        """
        if not (self.folder / "entry.json").is_file():
            return False
        if identity is None:
            return True
        try:
            return self.describe().get("identity") == dict(identity)
        except VadError:
            return False

    @property
    def broken(self) -> str | None:
        """Why the video could not be read, where the entry is the mark of one that was skipped; `None` elsewhere."""
        try:
            reason = self.describe().get("broken")
        except VadError:
            return None
        return None if reason is None else str(reason)

    def read(self, name: str, *, mmap: bool = True) -> np.ndarray:
        """One array, memory-mapped by default; raises `CacheError` where it is missing or damaged."""
        found = self.describe()
        described = found["arrays"].get(name)
        if "broken" in found:
            raise CacheError(f"{self.folder}: the video was skipped, since it could not be read ({found['broken']})")
        if described is None:
            raise CacheError(f"{self.folder}: holds no array '{name}'; delete the folder and extract again")
        try:
            array = files.read_npy(self.folder / f"{name}.npy", mmap=mmap)
        except VadError as error:
            raise CacheError(f"{error}; delete the folder and extract again") from None
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
        self._write(arrays, {"identity": dict(identity), "extra": dict(extra or {})})

    def mark_broken(self, reason: str, *, identity: Mapping[str, Any]) -> None:
        """Write an entry without arrays, that says why a video in this state is left out."""
        self._write({}, {"identity": dict(identity), "broken": reason})

    def _write(self, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(self.folder)
        try:
            for name, array in arrays.items():
                files.write_npy(temporary / f"{name}.npy", array)
            described = {name: [str(array.dtype), list(array.shape)] for name, array in arrays.items()}
            files.write_json(temporary / "entry.json", {**about, "arrays": described})
            self._put_in_place(temporary)
            files.sync_folder(self.folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _put_in_place(self, temporary: Path) -> None:
        """Rename; a folder that is there already takes another name first, since it cannot be renamed over.

        One that another process has just written alike stays, so that nobody misses it between the two steps.
        """
        reason = ""
        for _ in range(10):  # another process may put its own entry in place between the two steps
            try:
                temporary.rename(self.folder)
                return
            except OSError as error:
                reason = str(error.strerror)
            if self._newer_than(temporary):
                return
            if self.folder.exists():
                remove(self.folder)
        raise CacheError(f"{self.folder}: cannot be put in place ({reason})")

    def _newer_than(self, temporary: Path) -> bool:
        """Whether the entry says the same as the one in `temporary`, and was written after that was begun."""
        try:
            alike = all(
                self.describe().get(key) == Entry(temporary).describe().get(key)
                for key in ("identity", "arrays", "broken")
            )
            begun = min(path.stat().st_mtime_ns for path in temporary.iterdir())
            return alike and (self.folder / "entry.json").stat().st_mtime_ns >= begun
        except (VadError, OSError):
            return False


def remove(path: Path) -> None:
    """Delete a folder or file; a folder loses its name first, so that no reader sees half of it."""
    if not path.is_dir():
        path.unlink()
        return
    away = _beside(path)
    try:
        path.rename(away)
    except FileNotFoundError:  # another process was faster
        return
    shutil.rmtree(away)


def _beside(path: Path) -> Path:
    """A name in the same folder that nobody else takes and no reader looks at."""
    return path.parent / f".{path.name[:100]}.{os.getpid()}.{os.urandom(4).hex()}{files.PARTIAL_SUFFIX}"


def recipe_folder(dataset: str, recipe: Recipe) -> Path:
    """The folder of all entries of a recipe."""
    return cache_root() / dataset / recipe.key


def entry(dataset: str, recipe: Recipe, video_id: str) -> Entry:
    """Where the arrays of one video lie, or will lie."""
    return Entry(recipe_folder(dataset, recipe) / escape(video_id))


def declare(dataset: str, recipe: Recipe) -> None:
    """Write `recipe.json`, which makes the folder's hash readable."""
    path = recipe_folder(dataset, recipe) / "recipe.json"
    if _content(path) is None:
        files.write_json(path, recipe.content())


def _content(path: Path) -> dict[str, Any] | None:
    """What a recipe.json says; `None` where it is missing or damaged."""
    try:
        content = files.read_json(path)
    except VadError:
        return None
    return content if isinstance(content, dict) else None


def escape(video_id: str) -> str:
    """A video id as one path component; `urllib.parse.unquote` reads it back unless file systems forbid its length."""
    escaped = quote(video_id, safe="#=@+ ")
    escaped = escaped.replace(".", "%2E", 1) if escaped.startswith(".") else escaped
    return escaped if len(escaped) <= 200 else f"{escaped[:180]}+{files.hash_json(video_id, 16)}"


@dataclass(frozen=True)
class Stored:
    """All entries of one recipe in one data set."""

    folder: Path
    content: Mapping[str, Any]  # of the recipe
    entries: int
    size: int  # bytes, partial writes included
    newest: float  # seconds since 1970, when the last entry was written

    @property
    def dataset(self) -> str:
        return self.folder.parent.name

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def summary(self) -> str:
        """The recipe in a line: settings that are objects by their class, a source by its key, hashes cut."""
        words = (f"{name}={_brief(value)}" for name, value in self.content.items() if name not in _NOT_SETTINGS)
        return " ".join(words)


_NOT_SETTINGS = ("kind", "version", "class")


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        if "kind" in value:
            return f"{value['kind']}-{files.hash_json(value)}"
        return str(value.get("class", "{...}"))
    if isinstance(value, list):
        return ",".join(map(_brief, value))
    return value[:12] if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def stored() -> list[Stored]:
    """What the cache holds, by data set and key."""
    return [_stored(path.parent) for path in sorted(cache_root().glob("*/*/recipe.json"))]


def _stored(folder: Path) -> Stored:
    entries = [path.stat().st_mtime for path in folder.glob("*/entry.json") if not path.parent.name.startswith(".")]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    newest = max(entries, default=(folder / "recipe.json").stat().st_mtime)
    content = _content(folder / "recipe.json") or {"recipe.json": "damaged"}
    return Stored(folder, content, len(entries), size, newest)


def partial_writes(*, older: float = 3600.0) -> list[Path]:
    """What killed processes left: partial files and folders that nobody has touched for `older` seconds."""
    limit = time.time() - older
    found = [path for path in cache_root().rglob(f".*{files.PARTIAL_SUFFIX}") if _touched(path) <= limit]
    return [path for path in found if not any(parent in found for parent in path.parents)]


def _touched(path: Path) -> float:
    return max(p.stat().st_mtime for p in (path, *path.rglob("*")))
