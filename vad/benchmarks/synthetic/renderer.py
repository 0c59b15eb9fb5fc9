"""A script to frames and exact truth: shadows, sprites from far to near, light, noise."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from vad.benchmarks.synthetic.actors import wander
from vad.benchmarks.synthetic.background import Background, paint
from vad.benchmarks.synthetic.events import KINDS
from vad.benchmarks.synthetic.scene import HEIGHT, WIDTH, Scene
from vad.benchmarks.synthetic.script import Script, abnormal_frames
from vad.benchmarks.synthetic.sprites import Sprite, SpriteTrack

NOISE = 3.0  # deviation of the camera's noise in grey levels, on average
SHADOW = 0.30  # share of the light that a shadow takes away
HIDDEN = 0.10  # an actor of which less than this share can be seen is left out of the truth

REGION = np.dtype([("frame", "<i4"), ("track", "<i4"), ("kind", "<i4"), ("box", "<f4", (4,))])
"""One abnormal box: frame, number of the actor, position of its kind in `KINDS`, xyxy in pixels, end exclusive."""


Box = tuple[float, float, float, float]
Region = tuple[int, int, int, Box]  # one row of `REGION`


class Frame(NamedTuple):
    """A rendered frame and the abnormal boxes in it."""

    image: np.ndarray  # uint8 RGB (HEIGHT, WIDTH, 3)
    regions: list[Region]


class _Placed(NamedTuple):
    """A sprite cut to the frame and to what stands before it."""

    track: int
    rows: slice
    columns: slice
    picture: np.ndarray  # uint8 (h, w, 4), premultiplied
    whole: int  # pixels of the sprite before anything was cut


@lru_cache(maxsize=8)
def background(scene: Scene, seed: int) -> Background:
    """The empty scene, painted once for each process."""
    return paint(scene, seed)


@lru_cache(maxsize=2)
def _grain(seed: int) -> np.ndarray:
    """Noise around 128 of deviation 32, uint8, larger than a frame: each frame takes another cut of it."""
    rng = np.random.default_rng([seed, 102])
    shape = (HEIGHT + 97, WIDTH + 131)
    common, own = rng.normal(0, 29, (*shape, 1)), rng.normal(0, 13, (*shape, 3))
    return np.clip(128 + common + own, 0, 255).astype(np.uint8)


def render(script: Script, *, seed: int, rng: np.random.Generator) -> Iterator[Frame]:
    """Every frame of a script, in order. Light and noise drift without regard to what happens."""
    scene, n = script.scene, script.frames
    empty = background(scene, seed)
    grain = _grain(seed)
    light = _light(script, rng)
    noise = NOISE * (1 + 0.15 * wander(rng, n, 110)) / 32
    cuts = rng.integers(0, (98, 132), (n, 2)).tolist()
    tracks = [SpriteTrack(scene, actor) for actor in script.actors]
    for t in range(n):
        image, regions = _compose(scene, empty, tracks, t)
        cv2.LUT(image, np.clip(np.arange(256) * light[t] + 0.5, 0, 255).astype(np.uint8), dst=image)
        top, left = cuts[t]
        cut = grain[top : top + HEIGHT, left : left + WIDTH]
        cv2.addWeighted(image, 1.0, cut, noise[t], -128 * noise[t], dst=image)
        yield Frame(image, regions)


def _light(script: Script, rng: np.random.Generator) -> np.ndarray:
    """The light's slow drift, float64 (frames,). Of some draws that which says least about the events is taken."""
    event = abnormal_frames(script).astype(float)
    drifts = [0.055 * wander(rng, script.frames, 150) for _ in range(12)]
    drifts = [drift - drift.mean() for drift in drifts]
    least = min(drifts, key=lambda drift: abs(float(drift @ (event - event.mean()))))
    return 1 + 0.004 * rng.normal() + least


def _compose(scene: Scene, empty: Background, tracks: list[SpriteTrack], t: int) -> tuple[np.ndarray, list[Region]]:
    image = empty.image.copy()
    present = []
    for number, track in enumerate(tracks):
        k = t - track.actor.first
        if 0 <= k < len(track.actor) and track.seen[k]:
            present.append((float(track.actor.z[k]), number, k, track.draw(k)))
    present.sort(key=lambda item: -item[0])
    for z, _, _, sprite in present:
        _shade(image, scene, sprite, z)
    placed = []
    for z, number, _, sprite in present:
        cut = _place(number, sprite, z, empty)
        if cut is not None:
            _paste(image[cut.rows, cut.columns], cut.picture)
            placed.append(cut)
    abnormal = {number for _, number, k, _ in present if tracks[number].actor.abnormal[k]}
    regions = []
    for i, cut in enumerate(placed):
        if cut.track not in abnormal:
            continue
        box = _visible(cut, placed[i + 1 :])
        if box is not None:
            kind = tracks[cut.track].actor.kind
            regions.append((t, cut.track, list(KINDS).index(str(kind)), box))
    return image, regions


def _place(number: int, sprite: Sprite, z: float, empty: Background) -> _Placed | None:
    """Cut a sprite to the frame, and to what of the scene stands before it."""
    h, w = sprite.picture.shape[:2]
    top, left = max(0, sprite.top), max(0, sprite.left)
    bottom, right = min(HEIGHT, sprite.top + h), min(WIDTH, sprite.left + w)
    if top >= bottom or left >= right:
        return None
    rows, columns = slice(top, bottom), slice(left, right)
    picture = sprite.picture[top - sprite.top : bottom - sprite.top, left - sprite.left : right - sprite.left]
    for occluder in empty.occluders:
        if occluder.z < z:
            mask = occluder.mask[rows, columns]
            if mask.any():
                picture = (picture * (1 - mask[..., None]) + 0.5).astype(np.uint8)
    return _Placed(number, rows, columns, picture, cv2.countNonZero(sprite.picture[..., 3]))


def _paste(target: np.ndarray, picture: np.ndarray) -> None:
    """Lay a premultiplied picture over the target, in place."""
    rest = 255 - picture[..., 3:].astype(np.uint16)
    target[:] = picture[..., :3] + ((target * rest + 127) >> 8).astype(np.uint8)


def _shade(image: np.ndarray, scene: Scene, sprite: Sprite, z: float) -> None:
    """Darken the ground where a sprite keeps the light away: its outline laid down along the ground, blurred."""
    aside, back = scene.light
    rise = back * scene.camera.height / z  # rows up the frame for each row of height
    h, w = sprite.picture.shape[:2]
    column, row = sprite.foot
    pad = 4
    width = round(w + abs(aside) * h) + 2 * pad
    height = round(abs(rise) * h) + 3 * pad
    left = round(min(0.0, aside * h)) - pad  # of the shadow, counted from the sprite
    top = round(row - (rise * h if rise > 0 else 0)) - pad
    matrix = np.array(
        [[1.0, -aside, column - column + aside * row - left], [0.0, rise, row - rise * row - top]], np.float64
    )
    alpha = np.ascontiguousarray(sprite.picture[..., 3])
    shadow = cv2.warpAffine(alpha, matrix, (width, height), flags=cv2.INTER_AREA)
    shadow = cv2.blur(shadow, (5, 3))
    y0, x0 = sprite.top + top, sprite.left + left
    y1, x1 = max(0, y0), max(0, x0)
    y2, x2 = min(HEIGHT, y0 + height), min(WIDTH, x0 + width)
    if y1 >= y2 or x1 >= x2:
        return
    rest = 256 - (shadow[y1 - y0 : y2 - y0, x1 - x0 : x2 - x0, None] * np.float32(SHADOW)).astype(np.uint16)
    target = image[y1:y2, x1:x2]
    target[:] = (target * rest) >> 8


def _visible(cut: _Placed, nearer: list[_Placed]) -> Box | None:
    """The bounds of what can be seen of a sprite, or None where it is hidden."""
    mask = cut.picture[..., 3] > 127
    for other in nearer:
        top, bottom = max(cut.rows.start, other.rows.start), min(cut.rows.stop, other.rows.stop)
        left, right = max(cut.columns.start, other.columns.start), min(cut.columns.stop, other.columns.stop)
        if top < bottom and left < right:
            over = other.picture[
                top - other.rows.start : bottom - other.rows.start,
                left - other.columns.start : right - other.columns.start,
                3,
            ]
            mask[
                top - cut.rows.start : bottom - cut.rows.start, left - cut.columns.start : right - cut.columns.start
            ] &= over <= 127
    if np.count_nonzero(mask) < max(12, HIDDEN * cut.whole):
        return None
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = cut.columns.start, cut.rows.start
    return float(x + xs[0]), float(y + ys[0]), float(x + xs[-1] + 1), float(y + ys[-1] + 1)
