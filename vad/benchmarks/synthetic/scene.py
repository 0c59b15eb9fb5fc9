"""Where things happen: a camera above a ground plane, four places, and the lanes on which people walk there.

World coordinates are metres: x to the right, y up, z away from the camera; the ground is y = 0.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

WIDTH, HEIGHT = 320, 240
FPS = 25.0

Point = tuple[float, float]  # x, z on the ground
Ground = Literal["slabs", "asphalt", "pavers", "gravel"]


@dataclass(frozen=True)
class Camera:
    """A level camera whose horizon is shifted upwards, as a tilted one's would be, so that verticals stay vertical."""

    focal: float  # pixels
    height: float  # metres above the ground
    horizon: float  # row of the horizon

    def scale(self, z: np.ndarray) -> np.ndarray:
        """Pixels per metre at depth `z`."""
        return self.focal / z

    def project(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of points in the world."""
        return WIDTH / 2 + self.focal * x / z, self.horizon + self.focal * (self.height - y) / z

    def half_width(self, z: float) -> float:
        """Metres from the middle of the view to its edge at depth `z`."""
        return WIDTH / 2 * z / self.focal


class Prop(NamedTuple):
    """Something that stands in the scene, and hides what walks behind it."""

    kind: Literal["tree", "lamp", "planter", "bench", "bollard"]
    x: float
    z: float


@dataclass(frozen=True)
class Scene:
    """One place; the same in all splits."""

    name: str
    camera: Camera
    ground: Ground
    tint: tuple[int, int, int]  # RGB of the ground
    wall: float | None  # depth of a facade, or None for open water
    arch: float | None  # x of a passage through the facade
    lanes: tuple[tuple[Point, ...], ...]  # polylines that begin and end out of sight
    one_way: bool  # everybody follows the lanes from their first point to their last
    props: tuple[Prop, ...]
    light: Point  # by how much a shadow is displaced on the ground, per metre of height
    road: tuple[float, float]  # depths between which vehicles drive


def across(camera: Camera, left: float, right: float) -> tuple[Point, ...]:
    """A lane from beyond the left edge at depth `left` to beyond the right edge at depth `right`."""
    margin = 1.2
    return ((-camera.half_width(left) - margin, left), (camera.half_width(right) + margin, right))


def through(camera: Camera, side: int, near: float, arch: float, wall: float) -> tuple[Point, ...]:
    """A lane from beyond an edge (`side` -1 left, 1 right) through the arch of the facade and out of sight."""
    begin = side * (camera.half_width(near) + 1.2)
    return ((begin, near), (arch, wall - 1.5), (arch, wall + 1.0), (arch - side * 3.5, wall + 1.6))


def _plaza() -> Scene:
    camera = Camera(focal=300.0, height=5.2, horizon=24.0)
    arch, wall = 2.4, 19.0
    return Scene(
        name="plaza",
        camera=camera,
        ground="slabs",
        tint=(150, 143, 132),
        wall=wall,
        arch=arch,
        lanes=(
            across(camera, 9.0, 9.6),
            across(camera, 11.5, 11.0),
            across(camera, 13.6, 14.4),
            across(camera, 9.2, 14.0),
            across(camera, 14.0, 9.4),
            through(camera, -1, 9.5, arch, wall),
            through(camera, 1, 10.0, arch, wall),
        ),
        one_way=False,
        props=(
            Prop("tree", -6.0, 16.6),
            Prop("planter", -2.2, 17.2),
            Prop("bench", 6.6, 17.3),
            Prop("bollard", -3.1, 7.55),
            Prop("bollard", 3.2, 7.55),
        ),
        light=(0.45, 0.30),
        road=(12.4, 15.2),
    )


def _street() -> Scene:
    camera = Camera(focal=290.0, height=4.8, horizon=20.0)
    return Scene(
        name="street",
        camera=camera,
        ground="asphalt",
        tint=(112, 114, 119),
        wall=16.0,
        arch=None,
        lanes=(
            across(camera, 8.6, 8.8),
            across(camera, 9.8, 10.2),
            across(camera, 11.4, 11.0),
            across(camera, 12.8, 13.2),
            across(camera, 14.3, 14.3),
            across(camera, 9.0, 13.6),
            across(camera, 13.4, 9.2),
        ),
        one_way=False,
        props=(Prop("lamp", 3.0, 7.3), Prop("tree", -5.4, 15.2), Prop("planter", 5.2, 15.3)),
        light=(-0.50, 0.22),
        road=(11.6, 12.8),
    )


def _promenade() -> Scene:
    camera = Camera(focal=310.0, height=5.0, horizon=44.0)
    return Scene(
        name="promenade",
        camera=camera,
        ground="pavers",
        tint=(158, 134, 118),
        wall=None,
        arch=None,
        lanes=(
            across(camera, 9.2, 9.0),
            across(camera, 10.2, 10.6),
            across(camera, 11.8, 11.4),
            across(camera, 13.0, 13.2),
            across(camera, 14.6, 14.2),
            across(camera, 9.4, 12.4),
            across(camera, 13.8, 10.4),
        ),
        one_way=True,
        props=(Prop("lamp", -4.6, 16.0), Prop("lamp", 4.4, 16.0), Prop("bench", 0.4, 15.8)),
        light=(0.40, -0.18),
        road=(12.4, 14.6),
    )


def _courtyard() -> Scene:
    camera = Camera(focal=300.0, height=5.6, horizon=18.0)
    arch, wall = -3.0, 20.0
    return Scene(
        name="courtyard",
        camera=camera,
        ground="gravel",
        tint=(148, 139, 117),
        wall=wall,
        arch=arch,
        lanes=(
            across(camera, 9.2, 10.6),
            across(camera, 12.6, 9.4),
            across(camera, 11.4, 14.2),
            across(camera, 13.4, 13.0),
            through(camera, 1, 9.4, arch, wall),
            through(camera, -1, 10.2, arch, wall),
            through(camera, 1, 12.4, arch, wall),
        ),
        one_way=False,
        props=(
            Prop("tree", 5.2, 17.0),
            Prop("planter", 1.4, 17.6),
            Prop("tree", -8.4, 17.4),
            Prop("bollard", 0.6, 7.7),
        ),
        light=(-0.38, 0.34),
        road=(12.2, 14.8),
    )


SCENES: tuple[Scene, ...] = (_plaza(), _street(), _promenade(), _courtyard())
