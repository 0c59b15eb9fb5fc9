"""From an actor's state to shapes: joints of people, tubes of bicycles, faces of cars, as strokes that can be drawn.

Points are metres in the actor's own frame (forward, left, up), turned by its heading and projected near its place.
"""

from typing import NamedTuple

import numpy as np

from vad.benchmarks.synthetic.actors import THIGH, Actor, Colour
from vad.benchmarks.synthetic.scene import Scene

Joint = np.ndarray  # float64 (n, 3): forward, left, up


class Stroke(NamedTuple):
    """One shape of a figure in all frames of its track: a thick line, or a filled polygon."""

    points: np.ndarray  # float64 (n, k, 2): columns right of and rows below the actor's foot, in pixels
    width: np.ndarray | None  # float64 (n,), thickness in pixels; None: a filled polygon
    colour: np.ndarray  # float64 (n, 3)
    order: np.ndarray  # float64 (n,), larger is farther from the camera: drawn first
    visible: np.ndarray  # bool (n,)


class Figure:
    """The strokes of one actor, and the projection that they share."""

    def __init__(self, scene: Scene, actor: Actor) -> None:
        self.actor = actor
        self.n = len(actor)
        self.scale = scene.camera.scale(actor.z)
        self.tilt = scene.camera.height / actor.z  # rows per pixel of depth: the camera looks down
        self.cos, self.sin = np.cos(actor.heading), np.sin(actor.heading)
        self.strokes: list[Stroke] = []

    def joint(self, forward: np.ndarray | float, left: np.ndarray | float, up: np.ndarray | float) -> Joint:
        return np.stack(
            [np.broadcast_to(np.asarray(value, np.float64), self.n) for value in (forward, left, up)], axis=1
        )

    def depth(self, joint: Joint) -> np.ndarray:
        """Metres behind the actor's place, float64 (n,)."""
        return joint[:, 0] * self.sin + joint[:, 1] * self.cos

    def project(self, joint: Joint) -> np.ndarray:
        right = joint[:, 0] * self.cos - joint[:, 1] * self.sin
        down = -joint[:, 2] - self.depth(joint) * self.tilt
        return np.stack([right * self.scale, down * self.scale], axis=1)

    def add(
        self,
        joints: list[Joint],
        colour: Colour | np.ndarray,
        width: float | None,
        *,
        nearer: float = 0.0,
        visible: np.ndarray | None = None,
    ) -> None:
        """Draw a line through joints, `width` metres thick, or fill their polygon where it is None."""
        order = np.mean([self.depth(joint) for joint in joints], axis=0) - nearer
        shade = np.clip(1.0 - 0.55 * order, 0.78, 1.08)[:, None]  # what is farther lies in the figure's own shade
        self.strokes.append(
            Stroke(
                points=np.stack([self.project(joint) for joint in joints], axis=1),
                width=None if width is None else np.maximum(width * self.scale, 0.8),
                colour=np.clip(np.asarray(colour, np.float64) * shade, 0, 255),
                order=order,
                visible=np.ones(self.n, bool) if visible is None else visible,
            )
        )


def figure(scene: Scene, actor: Actor) -> Figure:
    """All strokes of an actor."""
    shape = Figure(scene, actor)
    if actor.body == "car":
        _car(shape)
    elif actor.body == "cyclist":
        _bicycle(shape)
        _rider(shape)
    else:
        _pedestrian(shape)
    return shape


def _pedestrian(shape: Figure) -> None:
    actor, height = shape.actor, shape.actor.look.height
    thigh = THIGH * height
    legs, drop = [], []
    for side, phase in ((1, actor.phase), (-1, actor.phase + np.pi)):
        swing = actor.stride * np.sin(phase) + 0.12 * actor.effort
        # the knee bends while the leg swings forward and is straight while it bears: this tells the direction of time
        bend = (
            0.10
            + (0.85 + 0.7 * actor.effort) * np.minimum(1, 2.5 * actor.stride) * np.maximum(0, np.cos(phase + 0.35)) ** 2
        )
        knee = thigh * np.sin(swing), thigh * np.cos(swing)
        ankle = knee[0] + thigh * np.sin(swing - bend), knee[1] + thigh * np.cos(swing - bend)
        pitch = np.clip(0.75 * bend - 0.3 * swing - 0.1, -0.35, 1.2)
        legs.append((side, knee, ankle, pitch))
        drop.append(ankle[1])
    hip = np.maximum(*drop) + 0.035 * height + 0.05 * actor.effort * np.abs(np.sin(actor.phase))
    for side, knee, ankle, pitch in legs:
        at_hip = shape.joint(0, side * 0.05 * height, hip)
        at_knee = shape.joint(knee[0], side * 0.055 * height, hip - knee[1])
        at_ankle = shape.joint(ankle[0], side * 0.05 * height, hip - ankle[1])
        toe = shape.joint(
            ankle[0] + 0.105 * height * np.cos(pitch),
            side * 0.06 * height,
            hip - ankle[1] - 0.105 * height * np.sin(pitch) - 0.012 * height,
        )
        shape.add([at_hip, at_knee], actor.look.trousers, 0.092 * height)
        shape.add([at_knee, at_ankle], actor.look.trousers, 0.070 * height)
        shape.add([at_ankle, toe], (40, 34, 30), 0.045 * height, nearer=0.02)
    lean = 0.03 + 0.20 * actor.effort + 0.40 * actor.fight * actor.twist[0]
    neck = _trunk(shape, shape.joint(0, 0, hip), lean)
    for side, phase in ((1, actor.phase + np.pi), (-1, actor.phase)):
        twist = actor.twist[1 if side > 0 else 2]
        swing = (0.8 + 0.4 * actor.effort) * actor.stride * np.sin(phase) + actor.fight * (1.15 + 0.75 * twist)
        bend = 0.25 + 0.25 * np.maximum(0, np.sin(phase)) + 1.15 * actor.effort + actor.fight * (0.5 - 0.6 * twist)
        _arm(shape, neck, side, swing, bend)
    _head(shape, neck, lean)


def _trunk(shape: Figure, hip: Joint, lean: np.ndarray) -> Joint:
    """Torso, and what is on its back; returns the neck."""
    look = shape.actor.look
    height = look.height
    neck = hip + shape.joint(0.31 * height * np.sin(lean), 0, 0.31 * height * np.cos(lean))
    shoulder, waist = 0.105 * height, 0.062 * height
    corners = [
        neck + shape.joint(0, shoulder, -0.03 * height),
        neck + shape.joint(0, -shoulder, -0.03 * height),
        hip + shape.joint(0, -waist, -0.02 * height),
        hip + shape.joint(0, waist, -0.02 * height),
    ]
    shape.add(corners, look.shirt, None)
    middle = [neck + shape.joint(0, 0, -0.06 * height), hip]
    shape.add(middle, look.shirt, 0.125 * height)  # gives the flat torso its depth when seen from the side
    if look.bag is not None:
        top, bottom = (
            neck + shape.joint(-0.085 * height, 0, -0.09 * height),
            hip + shape.joint(-0.085 * height, 0, 0.08 * height),
        )
        shape.add([top, bottom], look.bag, 0.115 * height)
    return neck


def _arm(shape: Figure, neck: Joint, side: int, swing: np.ndarray, bend: np.ndarray) -> None:
    look = shape.actor.look
    height = look.height
    shoulder = neck + shape.joint(0, side * 0.115 * height, -0.045 * height)
    elbow = shoulder + shape.joint(
        0.165 * height * np.sin(swing), side * 0.02 * height, -0.165 * height * np.cos(swing)
    )
    hand = elbow + shape.joint(0.155 * height * np.sin(swing + bend), 0, -0.155 * height * np.cos(swing + bend))
    shape.add([shoulder, elbow], np.asarray(look.shirt) * 0.9, 0.058 * height)
    shape.add([elbow, hand], look.skin, 0.045 * height)


def _head(shape: Figure, neck: Joint, lean: np.ndarray) -> None:
    look = shape.actor.look
    height = look.height
    centre = neck + shape.joint(0.08 * height * np.sin(lean), 0, 0.082 * height)
    shape.add([neck, centre], look.skin, 0.06 * height, nearer=0.02)
    shape.add([centre + shape.joint(-0.012 * height, 0, 0.008 * height)] * 2, look.hair, 0.125 * height, nearer=0.06)
    # a face is seen unless the back is turned; hair covers it from behind
    face = centre + shape.joint(0.030 * height, 0, -0.014 * height)
    shape.add([face, face], look.skin, 0.095 * height, nearer=0.09, visible=shape.sin < 0.55)


def _reach(origin: Joint, target: Joint, upper: float, lower: float, bend: int) -> Joint:
    """The joint between two limbs in the vertical plane of the heading; `bend` 1 forwards, -1 backwards."""
    gap = target - origin
    distance = np.clip(np.hypot(gap[:, 0], gap[:, 2]), 1e-6, (upper + lower) * 0.999)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    off = np.sqrt(np.maximum(upper**2 - along**2, 0))
    f, u = gap[:, 0] / distance, gap[:, 2] / distance
    middle = origin.copy()
    middle[:, 0] += along * f - bend * off * u
    middle[:, 2] += along * u + bend * off * f
    middle[:, 1] = (origin[:, 1] + target[:, 1]) / 2
    return middle


def _rider(shape: Figure) -> None:
    actor, look = shape.actor, shape.actor.look
    hip = shape.joint(-0.20, 0, 0.96)
    for side, phase in ((1, actor.phase), (-1, actor.phase + np.pi)):
        at_hip = hip + shape.joint(0, side * 0.09, 0)
        pedal = shape.joint(0.17 * np.cos(phase), side * 0.11, 0.30 - 0.17 * np.sin(phase))
        knee = _reach(at_hip, pedal, 0.44, 0.44, -1)
        shape.add([at_hip, knee], look.trousers, 0.16)
        shape.add([knee, pedal], look.trousers, 0.12)
        shape.add([pedal, pedal + shape.joint(0.16, 0, 0)], (40, 34, 30), 0.08)
    lean = np.full(shape.n, 0.62)
    neck = _trunk(shape, hip, lean)
    for side in (1, -1):
        shoulder = neck + shape.joint(0, side * 0.19, -0.07)
        hand = shape.joint(0.46, side * 0.24, 1.04)
        elbow = _reach(shoulder, hand, 0.30, 0.30, 1)
        shape.add([shoulder, elbow], np.asarray(look.shirt) * 0.9, 0.10)
        shape.add([elbow, hand], look.skin, 0.08)
    _head(shape, neck, lean * 0.4)


def _bicycle(shape: Figure) -> None:
    paint = shape.actor.look.paint
    turn = np.linspace(0, 2 * np.pi, 15)
    for hub in (-0.54, 0.54):
        rim = [shape.joint(hub + 0.34 * np.cos(a), 0, 0.35 + 0.34 * np.sin(a)) for a in turn]
        shape.add(rim, (26, 26, 28), 0.055)
        for spoke in (0, np.pi / 2):
            angle = -3.0 * shape.actor.phase + spoke
            arm = shape.joint(0.33 * np.cos(angle), 0, 0.33 * np.sin(angle))
            middle = shape.joint(hub, 0, 0.35)
            shape.add([middle - arm, middle + arm], (128, 128, 130), 0.018)
    crank, seat, head = shape.joint(0, 0, 0.30), shape.joint(-0.18, 0, 0.90), shape.joint(0.38, 0, 0.88)
    for a, b in ((crank, seat), (crank, head), (seat, head), (shape.joint(-0.54, 0, 0.35), crank)):
        shape.add([a, b], paint, 0.05)
    shape.add([head, shape.joint(0.54, 0, 0.35)], paint, 0.05)
    shape.add([shape.joint(0.44, 0.26, 1.04), shape.joint(0.44, -0.26, 1.04)], (30, 30, 32), 0.05)


_SIDE = ((-2.05, 0.30), (2.05, 0.30), (2.10, 0.62), (1.95, 0.80), (1.05, 0.92), (-1.75, 0.95), (-2.05, 0.85))
_CABIN = ((1.05, 0.92), (0.45, 1.42), (-1.05, 1.45), (-1.75, 0.95))


def _car(shape: Figure) -> None:
    """Side walls as outlines, joined by strips; a strip or wall is drawn where it faces the camera."""
    paint, half = np.asarray(shape.actor.look.paint, np.float64), 0.86
    glass = np.array([58.0, 68.0, 78.0])
    toward_left, toward_front = shape.cos < 0, shape.sin < 0  # which of its sides the camera sees
    for side, facing in ((half, toward_left), (-half, ~toward_left)):
        inset = side * 0.86
        shape.add([shape.joint(f, side, u) for f, u in _SIDE], paint * 0.80, None, nearer=3.0, visible=facing)
        shape.add([shape.joint(f, inset, u) for f, u in _CABIN], paint * 0.72, None, nearer=3.1, visible=facing)
        for window in (
            ((0.86, 0.95), (0.42, 1.34), (-0.28, 1.36), (-0.28, 0.96)),
            ((-0.40, 0.96), (-0.40, 1.36), (-1.0, 1.36), (-1.5, 0.97)),
        ):
            shape.add([shape.joint(f, inset, u) for f, u in window], glass, None, nearer=3.2, visible=facing)
        for axle in (-1.28, 1.28):
            rim = [
                shape.joint(axle + 0.33 * np.cos(a), side, 0.33 + 0.33 * np.sin(a))
                for a in np.linspace(0, 2 * np.pi, 13)[:-1]
            ]
            hub = shape.joint(axle, side, 0.33)
            shape.add(rim, (24, 24, 26), None, nearer=3.3, visible=facing)
            shape.add([hub, hub], (150, 152, 156), 0.30, nearer=3.4, visible=facing)
    for (f0, u0), (f1, u1), colour, seen in (
        ((2.05, 0.30), (2.10, 0.62), paint * 0.66, toward_front),
        ((2.10, 0.62), (1.95, 0.80), (232, 226, 196), toward_front),
        ((-2.05, 0.30), (-2.05, 0.85), paint * 0.66, ~toward_front),
        ((1.95, 0.80), (1.05, 0.92), paint, np.ones(shape.n, bool)),
        ((-1.75, 0.95), (-2.05, 0.85), paint, np.ones(shape.n, bool)),
        ((1.05, 0.92), (0.45, 1.42), glass * 1.2, np.ones(shape.n, bool)),
        ((-1.05, 1.45), (-1.75, 0.95), glass * 1.1, np.ones(shape.n, bool)),
        ((0.45, 1.42), (-1.05, 1.45), paint * 1.1, np.ones(shape.n, bool)),
    ):
        wide0, wide1 = (half * (0.86 if u > 0.9 else 1.0) for u in (u0, u1))
        corners = [
            shape.joint(f0, wide0, u0),
            shape.joint(f0, -wide0, u0),
            shape.joint(f1, -wide1, u1),
            shape.joint(f1, wide1, u1),
        ]
        shape.add(corners, colour, None, nearer=2.9 if f0 * f1 > 0 else 3.05, visible=seen)
