"""Figures to pixels: each actor in each frame as a small premultiplied picture with soft edges."""

from typing import NamedTuple

import cv2
import numpy as np

from vad.benchmarks.synthetic.actors import Actor
from vad.benchmarks.synthetic.figures import Stroke, figure
from vad.benchmarks.synthetic.scene import HEIGHT, WIDTH, Scene

OVERSAMPLING = 3  # drawn larger, then averaged down
_SHIFT = 3  # cv2 takes points in 1 / 2**shift pixels
_MARGIN = 2  # pixels around a sprite


class Sprite(NamedTuple):
    """One actor in one frame."""

    picture: np.ndarray  # uint8 (h, w, 4): RGB times alpha, alpha
    left: int  # column of the picture's first column in the frame, may be negative
    top: int
    foot: tuple[float, float]  # column and row inside the picture where the actor stands


class SpriteTrack:
    """Draws one actor, frame by frame; what does not depend on pixels is computed once for the whole track."""

    def __init__(self, scene: Scene, actor: Actor) -> None:
        self.actor = actor
        strokes = figure(scene, actor).strokes
        column, row = scene.camera.project(actor.x, np.zeros(len(actor)), actor.z)
        low = np.min([_reach(stroke, -1) for stroke in strokes], axis=0)
        high = np.max([_reach(stroke, 1) for stroke in strokes], axis=0)
        foot = np.stack([column, row], axis=1)
        self.origin = np.floor(foot + low).astype(int) - _MARGIN
        self.extent = np.ceil(foot + high).astype(int) + _MARGIN + 1 - self.origin
        self.foot = foot - self.origin
        inside = (self.origin < (WIDTH, HEIGHT)) & (self.origin + self.extent > 0)
        self.seen = inside.all(axis=1) & (actor.z > 2.0)
        self.columns, self.rows = column, row
        fixed = OVERSAMPLING * 2**_SHIFT
        self._points = [
            np.round((stroke.points + self.foot[:, None]) * fixed - 2 ** (_SHIFT - 1)).astype(np.int32)
            for stroke in strokes
        ]
        self._widths = [
            None if stroke.width is None else np.maximum(1, np.round(stroke.width * OVERSAMPLING)).astype(int).tolist()
            for stroke in strokes
        ]
        self._colours = [
            [(*colour, 255) for colour in np.round(stroke.colour).astype(int).tolist()] for stroke in strokes
        ]
        self._order = np.argsort(
            -np.stack([stroke.order for stroke in strokes], axis=1), axis=1, kind="stable"
        ).tolist()
        self._visible = np.stack([stroke.visible for stroke in strokes], axis=1)

    def draw(self, t: int) -> Sprite:
        """The sprite in frame `t` of the actor's track."""
        w, h = self.extent[t].tolist()
        canvas = np.zeros((h * OVERSAMPLING, w * OVERSAMPLING, 4), np.uint8)
        visible = self._visible[t].tolist()
        for k in self._order[t]:
            if not visible[k]:
                continue
            points, widths, colour = self._points[k][t], self._widths[k], self._colours[k][t]
            if widths is None:
                cv2.fillConvexPoly(canvas, points, colour, cv2.LINE_8, _SHIFT)
            elif len(points) == 2:
                a, b = points.tolist()
                cv2.line(canvas, a, b, colour, widths[t], cv2.LINE_8, _SHIFT)
            else:
                cv2.polylines(canvas, [points], False, colour, widths[t], cv2.LINE_8, _SHIFT)
        picture = cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA)
        left, top = self.origin[t].tolist()
        column, row = self.foot[t].tolist()
        return Sprite(picture, left, top, (column, row))


def _reach(stroke: Stroke, sign: int) -> np.ndarray:
    """How far a stroke reaches from the foot, float64 (n, 2), towards smaller or larger coordinates."""
    edge = stroke.points.min(axis=1) if sign < 0 else stroke.points.max(axis=1)
    return edge if stroke.width is None else edge + sign * stroke.width[:, None] / 2
