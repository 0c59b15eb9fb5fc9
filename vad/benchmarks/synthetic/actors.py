"""Who moves, and how: tracks on the ground with heading, gait and, frame by frame, what is abnormal about them."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vad.benchmarks.synthetic.scene import FPS, Point, Scene

WALKING = (1.15, 1.50)  # metres per second: a narrow band
RUNNING = (3.3, 4.2)
CYCLING = (3.0, 4.0)
DRIVING = (3.8, 5.0)
THIGH = 0.25  # of the body's height; so is the shin

Body = Literal["person", "cyclist", "car"]
Colour = tuple[int, int, int]

_LIGHT: tuple[Colour, ...] = ((226, 222, 212), (236, 206, 96), (150, 205, 236), (240, 168, 150), (196, 232, 170))
_DARK: tuple[Colour, ...] = ((38, 44, 62), (112, 26, 32), (30, 66, 44), (52, 40, 34), (26, 40, 104))
_TROUSERS: tuple[Colour, ...] = ((34, 38, 54), (46, 42, 40), (28, 28, 30), (206, 196, 174), (66, 76, 104))
_SKIN: tuple[Colour, ...] = ((232, 188, 156), (204, 152, 116), (142, 96, 66), (96, 64, 46))
_HAIR: tuple[Colour, ...] = ((34, 26, 22), (82, 54, 34), (24, 24, 26), (150, 112, 62), (150, 148, 146))
_PAINT: tuple[Colour, ...] = ((204, 206, 210), (150, 30, 34), (36, 62, 122), (40, 42, 46), (222, 196, 120))


@dataclass(frozen=True)
class Look:
    """What an actor looks like for as long as it is seen."""

    height: float  # metres
    shirt: Colour
    trousers: Colour
    skin: Colour
    hair: Colour
    paint: Colour  # of the bicycle or the car
    bag: Colour | None  # on the back: tells front from back

    @staticmethod
    def draw(rng: np.random.Generator) -> "Look":
        """A look at random, light and dark shirts alike, so that people do not change the mean brightness."""

        def one(colours: tuple[Colour, ...]) -> Colour:
            return colours[int(rng.integers(len(colours)))]

        return Look(
            height=float(rng.uniform(1.62, 1.86)),
            shirt=one(_LIGHT if rng.uniform() < 0.55 else _DARK),
            trousers=one(_TROUSERS),
            skin=one(_SKIN),
            hair=one(_HAIR),
            paint=one(_PAINT),
            bag=one(_DARK + _LIGHT[1:3]) if rng.uniform() < 0.4 else None,
        )


@dataclass(frozen=True)
class Actor:
    """One mover; every array has a value for each of the frames `first` to `first + n`."""

    body: Body
    look: Look
    first: int  # may be negative: already on the way when the video begins
    x: np.ndarray  # float64 (n,), metres
    z: np.ndarray  # float64 (n,)
    heading: np.ndarray  # float64 (n,), radians; 0 faces right, pi/2 faces away from the camera
    phase: np.ndarray  # float64 (n,), radians of the gait or the pedals; runs backwards with time reversed
    stride: np.ndarray  # float64 (n,), swing of the thigh in radians
    effort: np.ndarray  # float64 (n,), 0 walking to 1 running
    fight: np.ndarray  # float64 (n,), 0 calm to 1 flailing
    abnormal: np.ndarray  # bool (n,), whether `kind` is what it does
    kind: str | None = None
    twist: np.ndarray = field(
        default_factory=lambda: np.zeros(0)
    )  # float64 (3, n), what a fight does to trunk and arms

    def __len__(self) -> int:
        return len(self.x)


def wander(rng: np.random.Generator, n: int, period: float, octaves: int = 3) -> np.ndarray:
    """Smooth noise float64 (n,) in about [-1, 1], of the given period in frames."""
    t = np.arange(n)
    total = np.zeros(n)
    for octave in range(octaves):
        rate = 2 * np.pi / (period / 1.7**octave * rng.uniform(0.8, 1.25))
        total += np.sin(rate * t + rng.uniform(0, 2 * np.pi)) * 0.6**octave
    return total / 1.4


def follow(points: np.ndarray, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walk along a polyline (k, 2) in metres with a speed (n,) in metres per frame, rounding its corners.

    Returns x and z of the frames up to the end of the line.
    """
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    at = np.concatenate(([0.0], np.cumsum(steps)))
    way = np.cumsum(speed)
    way = way[way < at[-1]]
    x, z = np.interp(way, at, points[:, 0]), np.interp(way, at, points[:, 1])
    return smooth(x, 15), smooth(z, 15)


def smooth(values: np.ndarray, taps: int) -> np.ndarray:
    """Moving average that continues both ends in a straight line."""
    if len(values) < 3:
        return values
    half = taps // 2
    before = values[0] + (values[1] - values[0]) * np.arange(-half, 0)
    after = values[-1] + (values[-1] - values[-2]) * np.arange(1, half + 1)
    return np.convolve(np.concatenate((before, values, after)), np.full(taps, 1 / taps), mode="valid")


def person(
    *,
    look: Look,
    first: int,
    x: np.ndarray,
    z: np.ndarray,
    rng: np.random.Generator,
    facing: np.ndarray | None = None,
    effort: np.ndarray | float = 0.0,
    fight: np.ndarray | float = 0.0,
    abnormal: np.ndarray | bool = False,
    kind: str | None = None,
    body: Body = "person",
) -> Actor:
    """Give a path its heading, and a gait whose feet do not slide.

    Args:
        facing: Heading, float64 (n,); by default the direction of the path. Against it, the gait runs backwards.
    """
    n = len(x)
    dx, dz = np.gradient(x), np.gradient(z)
    speed = np.hypot(dx, dz) * FPS
    course = np.unwrap(np.arctan2(dz, dx))
    heading = course if facing is None else facing
    forward = speed * np.sign(np.cos(course - heading))
    effort = np.broadcast_to(np.asarray(effort, np.float64), n)
    stride = (0.40 + 0.20 * effort) * np.sqrt(np.clip(speed / 1.3, 0, 1))
    if body == "person":
        leg = 2 * THIGH * look.height
        # one cycle covers four times the reach of a leg, and a flight phase when running
        cycle = 4 * leg * np.sin(np.maximum(stride, 0.05)) * (1 + 0.55 * effort)
    else:
        cycle = np.full(n, 4.4)  # metres per turn of the pedals
    phase = rng.uniform(0, 2 * np.pi) + np.cumsum(forward / cycle) * 2 * np.pi / FPS
    return Actor(
        body=body,
        look=look,
        first=first,
        x=x,
        z=z,
        heading=heading,
        phase=phase,
        stride=stride,
        effort=effort,
        fight=np.broadcast_to(np.asarray(fight, np.float64), n),
        abnormal=np.broadcast_to(np.asarray(abnormal, bool), n),
        kind=kind,
        twist=np.stack([wander(rng, n, period) for period in (16, 11, 13)]),
    )


def lane_points(scene: Scene, rng: np.random.Generator, *, against: bool = False) -> np.ndarray:
    """A lane of the scene as float64 (k, 2), shifted within its width; both directions unless the scene is one-way."""
    lane: tuple[Point, ...] = scene.lanes[int(rng.integers(len(scene.lanes)))]
    points = np.array(lane, np.float64)
    points[: 2 if len(lane) == 2 else 1, 1] += rng.uniform(-0.45, 0.45)
    turn = against if scene.one_way else rng.uniform() < 0.5
    return points[::-1] if turn else points


def walk(
    scene: Scene, rng: np.random.Generator, points: np.ndarray, speed: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Somebody walking along `points`: x and z of each frame, with the small unsteadiness of people."""
    pace = rng.uniform(*WALKING) if speed is None else speed
    length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    n = int(length / pace * FPS * 1.3) + 2
    x, z = follow(points, pace / FPS * (1 + 0.06 * wander(rng, n, 60)))
    return x, z + 0.08 * wander(rng, len(z), 90, octaves=1)


def walker(scene: Scene, rng: np.random.Generator, first: int) -> Actor:
    """A normal person on one of the scene's lanes."""
    x, z = walk(scene, rng, lane_points(scene, rng))
    return person(look=Look.draw(rng), first=first, x=x, z=z, rng=rng)
