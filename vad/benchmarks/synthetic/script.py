"""Who comes when: the events of a video, and as many walkers beside them as keep the amount of motion level.

Frames must not give themselves away by how much moves in them. Each actor has an estimated share of the pixels that it
changes; a level is drawn that does not know of the events, the events are placed, and walkers fill what is left.
"""

from dataclasses import dataclass, replace

import numpy as np

from vad.benchmarks.synthetic.actors import Actor, walker, wander
from vad.benchmarks.synthetic.events import EVENTS
from vad.benchmarks.synthetic.scene import WIDTH, Scene

QUIET = 15  # normal frames at least before, between and after events
CANDIDATES = 40  # walkers that are tried, each where it is needed most
ROUNDS = 3  # how often each is taken out and placed anew
LEVEL = 4.8  # mean motion, in walkers at 11 m
# Pixels that an actor changes from frame to frame, in walkers at the same depth: measured on renderings of one actor
_MOTION = {"running": 2.3, "cycling": 4.3, "vehicle": 7.0, "wrong_direction": 1.1, "loitering": 0.6, "scuffle": 1.4}
_DEPTH = 11.0  # metres


@dataclass(frozen=True)
class Script:
    """Everything that happens in one video."""

    scene: Scene
    frames: int
    actors: tuple[Actor, ...]


def write(scene: Scene, *, frames: int, kinds: tuple[str, ...], rng: np.random.Generator) -> Script:
    """A video of `frames` frames with an event of each of `kinds`, in this order."""
    events = _events(scene, frames, kinds, rng)
    excess = -LEVEL * (1 + 0.25 * wander(rng, frames, 140))
    for actor in events:
        excess += _motion(scene, actor, frames)
    walkers: list[Actor | None] = [None] * CANDIDATES
    candidates = [walker(scene, rng, 0) for _ in range(CANDIDATES)]
    for k in [*range(CANDIDATES)] * ROUNDS:
        one = walkers[k]
        if one is not None:
            excess -= _motion(scene, one, frames)
        others = [*events, *(w for i, w in enumerate(walkers) if w is not None and i != k)]
        walkers[k] = one = _fit(scene, candidates[k], excess, others)
        if one is not None:
            excess += _motion(scene, one, frames)
    return Script(scene, frames, (*events, *(w for w in walkers if w is not None)))


def abnormal_frames(script: Script) -> np.ndarray:
    """Where an event is in view, bool (frames,): planned, so before anything is known of who hides whom."""
    spans = [_abnormal(script.scene, actor, script.frames) for actor in script.actors]
    return np.any(spans, axis=0) if spans else np.zeros(script.frames, bool)


def _fit(scene: Scene, candidate: Actor, excess: np.ndarray, others: list[Actor]) -> Actor | None:
    """Let a walker come when it brings the squares of the excess float64 (frames,) down most, if ever it does."""
    frames, n = len(excess), len(candidate)
    motion = _motion(scene, candidate, n)
    # padded[s : s + n] is what the walker meets if it starts at frame s - n
    padded = np.concatenate((np.zeros(n), excess, np.zeros(n)))
    inside = np.concatenate((np.zeros(n), np.ones(frames), np.zeros(n)))
    change = 2 * np.correlate(padded, motion, "valid") + np.correlate(inside, motion**2, "valid")
    for start in np.argsort(change, kind="stable")[:40:8]:
        placed = replace(candidate, first=int(start) - n)
        if change[start] < 0 and not any(_collide(placed, other, frames) for other in others):
            return placed
    return None


def _events(scene: Scene, frames: int, kinds: tuple[str, ...], rng: np.random.Generator) -> list[Actor]:
    """Place events apart from one another; the arrangement with the fewest faults out of some is taken."""
    best: tuple[int, list[Actor]] | None = None
    slot = frames / max(1, len(kinds))
    for _ in range(40):
        groups = [EVENTS[kind](scene, rng, int(slot * (k + rng.uniform(0.35, 0.65)))) for k, kind in enumerate(kinds)]
        spans = [np.any([_abnormal(scene, actor, frames) for actor in group], axis=0) for group in groups]
        actors = [actor for group in groups for actor in group]
        faults = _faults(spans, frames) + sum(
            _collide(a, b, frames) for i, one in enumerate(groups) for other in groups[:i] for a in one for b in other
        )
        if best is None or faults < best[0]:
            best = faults, actors
        if faults == 0:
            break
    assert best is not None  # the loop ran
    return best[1]


def _faults(spans: list[np.ndarray], frames: int) -> int:
    """How many frames of quiet are missing around events bool (frames,), and whether an event is not seen at all."""
    faults, last = 0, 0
    for span in spans:
        seen = np.flatnonzero(span)
        if len(seen) < 20:
            return frames
        faults += max(0, last + QUIET - int(seen[0]))
        last = int(seen[-1]) + 1
    return faults + (max(0, last + QUIET - frames) if spans else 0)


def _window(actor: Actor, frames: int) -> tuple[slice, slice]:
    """The part of the video in which an actor has a place, and the same part of its track."""
    start, stop = max(0, actor.first), min(frames, actor.first + len(actor))
    stop = max(start, stop)
    return slice(start, stop), slice(start - actor.first, stop - actor.first)


def _seen(scene: Scene, actor: Actor, margin: float) -> np.ndarray:
    """Whether an actor stands in the view, grown by `margin` metres either side; bool (n,)."""
    reach = WIDTH / 2 * actor.z / scene.camera.focal
    return (np.abs(actor.x) < reach + margin) & (actor.z < (scene.wall or np.inf))


def _abnormal(scene: Scene, actor: Actor, frames: int) -> np.ndarray:
    there, track = _window(actor, frames)
    span = np.zeros(frames, bool)
    span[there] = (actor.abnormal & _seen(scene, actor, 2.0 if actor.body == "car" else 0.4))[track]
    return span


def _motion(scene: Scene, actor: Actor, frames: int) -> np.ndarray:
    """How much an actor changes in each frame, float64 (frames,), in walkers at a depth of 11 m."""
    there, track = _window(actor, frames)
    share = np.where(actor.abnormal, _MOTION[actor.kind] if actor.kind else 1.0, 1.0)
    amount = share * (_DEPTH / actor.z) ** 2 * _seen(scene, actor, 1.8 if actor.body == "car" else 0.1)
    motion = np.zeros(frames)
    motion[there] = amount[track]
    return motion


def _collide(one: Actor, other: Actor, frames: int) -> bool:
    """Whether two actors come so close that they would walk through one another."""
    a, b = _window(one, frames), _window(other, frames)
    start, stop = max(a[0].start, b[0].start), min(a[0].stop, b[0].stop)
    if start >= stop:
        return False
    i, j = slice(start - one.first, stop - one.first), slice(start - other.first, stop - other.first)
    wide = 2.3 if "car" in (one.body, other.body) else 0.7
    deep = 1.1 if "car" in (one.body, other.body) else 0.35
    return bool(np.any(((one.x[i] - other.x[j]) / wide) ** 2 + ((one.z[i] - other.z[j]) / deep) ** 2 < 1))
