"""What is abnormal: one function for each kind, which returns its actors so that the event is under way at a frame."""

from collections.abc import Callable

import numpy as np

from vad.benchmarks.synthetic.actors import (
    CYCLING,
    DRIVING,
    RUNNING,
    WALKING,
    Actor,
    Body,
    Look,
    lane_points,
    person,
    smooth,
    walk,
    wander,
)
from vad.benchmarks.synthetic.scene import Scene, across

KINDS: dict[str, str] = {
    "running": "motion",
    "cycling": "both",
    "vehicle": "both",
    "wrong_direction": "motion",
    "loitering": "motion",
    "scuffle": "both",
}
"""Kind of anomaly -> what finds it: `appearance`, `motion` or `both`."""


def _straight(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    while True:
        points = lane_points(scene, rng)
        if len(points) == 2:
            return points


def _pass(scene: Scene, rng: np.random.Generator, at: int, kind: str, body: Body, points: np.ndarray) -> list[Actor]:
    """Cross the view at one speed; abnormal all the way."""
    speed = rng.uniform(*{"running": RUNNING, "cycling": CYCLING, "vehicle": DRIVING}[kind])
    x, z = walk(scene, rng, points, speed)
    return [
        person(
            look=Look.draw(rng),
            first=at - len(x) // 2,
            x=x,
            z=z,
            rng=rng,
            effort=1.0 if kind == "running" else 0.0,
            abnormal=True,
            kind=kind,
            body=body,
        )
    ]


def running(scene: Scene, rng: np.random.Generator, at: int) -> list[Actor]:
    """Somebody runs along a lane on which people walk."""
    return _pass(scene, rng, at, "running", "person", _straight(scene, rng))


def cycling(scene: Scene, rng: np.random.Generator, at: int) -> list[Actor]:
    """Somebody rides a bicycle along a lane."""
    return _pass(scene, rng, at, "cycling", "cyclist", _straight(scene, rng))


def vehicle(scene: Scene, rng: np.random.Generator, at: int) -> list[Actor]:
    """A car drives through; in a one-way scene it follows the way."""
    left, right = rng.uniform(*scene.road, size=2)
    points = np.array(across(scene.camera, left, right))
    points[:, 0] += np.sign(points[:, 0]) * 1.4  # a car is longer than a person
    if not scene.one_way and rng.uniform() < 0.5:
        points = points[::-1]
    return _pass(scene, rng, at, "vehicle", "car", points)


def wrong_direction(scene: Scene, rng: np.random.Generator, at: int) -> list[Actor]:
    """One-way scenes: turns round and walks back against everybody. Elsewhere: walks backwards for a while."""
    points, pace = _straight(scene, rng), rng.uniform(*WALKING)
    x, z = walk(scene, rng, points, pace)
    if scene.one_way:
        turn = int(len(x) * rng.uniform(0.38, 0.55))
        back_x, back_z = x[:turn][::-1], z[:turn][::-1] + np.linspace(0, 0.5, turn)
        x, z = smooth(np.concatenate((x[:turn], back_x)), 15), smooth(np.concatenate((z[:turn], back_z)), 15)
        abnormal = np.arange(len(x)) >= turn
        return [
            person(
                look=Look.draw(rng),
                first=at - turn - turn // 2,
                x=x,
                z=z,
                rng=rng,
                abnormal=abnormal,
                kind="wrong_direction",
            )
        ]
    half = int(rng.integers(35, 50))
    t = np.arange(len(x)) - int(len(x) * rng.uniform(0.45, 0.55))
    course = np.unwrap(np.arctan2(np.gradient(z), np.gradient(x)))
    turned = np.pi * np.clip((half - np.abs(t)) / 10, 0, 1)
    return [
        person(
            look=Look.draw(rng),
            first=at + int(t[0]),
            x=x,
            z=z,
            rng=rng,
            facing=course + turned * rng.choice([-1, 1]),
            abnormal=turned > np.pi / 2,
            kind="wrong_direction",
        )
    ]


def _stay(
    scene: Scene, rng: np.random.Generator, spot: np.ndarray, before: np.ndarray, after: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Walk from `before` to `spot`, remain there for `n` frames, walk on to `after`.

    Returns x and z of each frame, and the frame of the arrival.
    """
    x0, z0 = walk(scene, rng, np.stack([before, spot]))
    x1, z1 = walk(scene, rng, np.stack([spot, after]))
    x = np.concatenate((x0, np.full(n, spot[0]), x1))
    z = np.concatenate((z0, np.full(n, spot[1]), z1))
    return smooth(x, 15), smooth(z, 15), len(x0)


def _spot(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A place well in view."""
    z = rng.uniform(9.4, 13.0)
    return np.array([rng.uniform(-0.6, 0.6) * scene.camera.half_width(z), z])


def loitering(scene: Scene, rng: np.random.Generator, at: int) -> list[Actor]:
    """Somebody comes, hangs about in one place, looks around, and goes on."""
    points, n = _straight(scene, rng), int(rng.integers(80, 115))
    x, z, arrival = _stay(scene, rng, _spot(scene, rng), points[0], points[-1], n)
    t = np.arange(len(x))
    inside = np.clip(np.minimum(t - arrival, arrival + n - t) / 15, 0, 1)
    course = smooth(np.unwrap(np.arctan2(np.gradient(z), np.gradient(x))), 9)
    x, z = x + 0.28 * inside * wander(rng, len(x), 80), z + 0.28 * inside * wander(rng, len(x), 80)
    facing = course + 1.5 * inside * wander(rng, len(x), 70)
    return [
        person(
            look=Look.draw(rng),
            first=at - arrival - n // 2,
            x=x,
            z=z,
            rng=rng,
            facing=facing,
            abnormal=inside > 0.3,
            kind="loitering",
        )
    ]


def scuffle(scene: Scene, rng: np.random.Generator, at: int) -> list[Actor]:
    """Two people meet, grapple, lunge at one another, and part."""
    spot, n = _spot(scene, rng), int(rng.integers(60, 90))
    turn = rng.uniform(-0.6, 0.6) + 0.5 * wander(rng, 4 * n, 120)
    lunge = 0.20 * wander(rng, 4 * n, 22)
    points = [_straight(scene, rng), _straight(scene, rng)]
    if not scene.one_way:  # they come from the two sides
        points = [p if (p[0, 0] < 0) == (side < 0) else p[::-1] for p, side in zip(points, (-1, 1), strict=True)]
    fighters = []
    for side, line in zip((-1, 1), points, strict=True):
        x, z, arrival = _stay(scene, rng, spot + np.array([side * 0.36, 0]), line[0], line[-1], n)
        t = np.arange(len(x))
        inside = np.clip(np.minimum(t - arrival, arrival + n - t) / 8, 0, 1)
        clock = np.clip(t - arrival, 0, n)
        away = 0.36 * side
        x = x + inside * (away * (np.cos(turn[clock]) - 1) + lunge[clock] + 0.10 * side * wander(rng, len(x), 18))
        z = z + inside * (away * np.sin(turn[clock]) + 0.12 * wander(rng, len(x), 25))
        course = smooth(np.unwrap(np.arctan2(np.gradient(z), np.gradient(x))), 5)
        toward = turn[clock] + (0 if side < 0 else np.pi)
        facing = course + inside * np.angle(np.exp(1j * (toward - course)))
        fighters.append(
            person(
                look=Look.draw(rng),
                first=at - arrival - n // 2,
                x=x,
                z=z,
                rng=rng,
                facing=facing,
                fight=inside,
                abnormal=inside > 0.5,
                kind="scuffle",
            )
        )
    return fighters


EVENTS: dict[str, Callable[[Scene, np.random.Generator, int], list[Actor]]] = {
    "running": running,
    "cycling": cycling,
    "vehicle": vehicle,
    "wrong_direction": wrong_direction,
    "loitering": loitering,
    "scuffle": scuffle,
}
