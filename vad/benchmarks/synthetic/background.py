"""What a scene looks like when nobody is there, and what in it hides whoever walks behind."""

from typing import NamedTuple

import cv2
import numpy as np

from vad.benchmarks.synthetic.scene import HEIGHT, WIDTH, Prop, Scene

OVERSAMPLING = 2  # painted larger, then averaged down, so that edges are soft
MEAN_BRIGHTNESS = 122.0  # of every scene: brightness must not tell one scene from another


class Occluder(NamedTuple):
    """Pixels of something that stands at one depth; the background already shows it."""

    z: float
    mask: np.ndarray  # float32 (HEIGHT, WIDTH), 0 to 1


class Background(NamedTuple):
    """An empty scene."""

    image: np.ndarray  # uint8 RGB (HEIGHT, WIDTH, 3)
    occluders: tuple[Occluder, ...]


class _Canvas:
    """An enlarged picture that is painted from far to near."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene = scene
        self.rng = rng
        self.h, self.w = HEIGHT * OVERSAMPLING, WIDTH * OVERSAMPLING
        self.image = np.zeros((self.h, self.w, 3), np.float32)
        self.occluders: list[Occluder] = []

    def pixel(self, x: float, y: float, z: float) -> tuple[int, int]:
        u, v = self.scene.camera.project(np.asarray(x), np.asarray(y), np.asarray(z))
        return round(float(u) * OVERSAMPLING), round(float(v) * OVERSAMPLING)

    def length(self, metres: float, z: float) -> int:
        return max(1, round(metres * self.scene.camera.focal / z * OVERSAMPLING))

    def occlude(self, z: float, mask: np.ndarray) -> None:
        """Remember the mask uint8 (h, w), 255 where something at depth `z` was painted."""
        small = cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        self.occluders.append(Occluder(z, small.astype(np.float32) / 255))

    def rectangle(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        z: float,
        colour: tuple[float, ...],
        target: np.ndarray | None = None,
    ) -> None:
        image = self.image if target is None else target
        cv2.rectangle(image, self.pixel(x0, y1, z), self.pixel(x1, y0, z), colour, -1)


def paint(scene: Scene, seed: int) -> Background:
    """The empty scene; a function of the scene and the seed."""
    rng = np.random.default_rng([seed, 101, *scene.name.encode()])
    canvas = _Canvas(scene, rng)
    _ground(canvas)
    if scene.wall is None:
        _water(canvas)
    else:
        _facade(canvas, scene.wall)
    for prop in sorted(scene.props, key=lambda prop: -prop.z):
        _PROPS[prop.kind](canvas, prop)
    image = cv2.resize(canvas.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    image += rng.normal(0, 3.0, image.shape[:2]).astype(np.float32)[..., None]  # grain that compression keeps
    image *= MEAN_BRIGHTNESS / image.mean()
    return Background(np.clip(image, 8, 240).astype(np.uint8), tuple(canvas.occluders))


def _clouds(rng: np.random.Generator, size: int, octaves: int) -> np.ndarray:
    """Noise float32 (size, size) of unit deviation that repeats at its borders."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = 4 * 2**octave
        coarse = rng.normal(size=(cells, cells)).astype(np.float32)
        wrapped = np.pad(coarse, 2, mode="wrap")
        scale = size // cells
        total += cv2.resize(wrapped, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)[
            2 * scale : -2 * scale, 2 * scale : -2 * scale
        ] * np.float32(0.75**octave)
    return total / total.std()


def _ground(canvas: _Canvas) -> None:
    camera, scene = canvas.scene.camera, canvas.scene
    row = (np.arange(canvas.h, dtype=np.float32) + 0.5)[:, None] / OVERSAMPLING
    column = (np.arange(canvas.w, dtype=np.float32) + 0.5)[None] / OVERSAMPLING
    z = camera.focal * camera.height / np.maximum(row - camera.horizon, 4.0)
    x = (column - WIDTH / 2) * z / camera.focal
    z = np.broadcast_to(z, x.shape)
    texture = _clouds(canvas.rng, 512, 7)

    def noise(per_metre: float) -> np.ndarray:
        return cv2.remap(
            texture, x * per_metre % 512, z * per_metre % 512, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )

    fade = np.clip(1.6 - z / 14, 0.25, 1)  # fine grain would flicker where a pixel covers much of it
    tone = 5.0 * noise(9.0) + 7.0 * noise(50.0) * fade
    across, along = camera.focal / z, camera.focal * camera.height / z**2  # pixels per metre, either way

    def joints(tile_x: float, tile_z: float, width: float, shift: np.ndarray | float = 0.0) -> np.ndarray:
        to_x = np.abs((x + shift) / tile_x - np.round((x + shift) / tile_x)) * tile_x * across
        to_z = np.abs(z / tile_z - np.round(z / tile_z)) * tile_z * along
        line_x = np.clip(1.0 - to_x, 0, 1) * np.minimum(1, width * across)
        line_z = np.clip(1.0 - to_z, 0, 1) * np.minimum(1, width * along)
        return np.maximum(line_x, line_z)

    if scene.ground == "slabs":
        slab = (np.round(x / 1.2) * 127 + np.round(z / 1.2) * 311).astype(np.int64) % 64
        tone += canvas.rng.normal(0, 5, 64).astype(np.float32)[slab] - 34 * joints(1.2, 1.2, 0.06)
    elif scene.ground == "pavers":
        course = np.floor(z / 0.5)
        tone += -26 * joints(0.8, 0.5, 0.05, shift=0.4 * (course % 2))
    elif scene.ground == "asphalt":
        tone += 5.0 * noise(90.0) * fade
    colour = np.array(scene.tint, np.float32) + tone[..., None]
    if scene.ground == "asphalt":
        kerb = np.clip((z - 13.7) * along, 0, 1)[..., None]  # pavement along the facade
        colour = (
            colour * (1 - kerb)
            + (np.array([150, 146, 138], np.float32) + tone[..., None] - 24 * joints(0.9, 0.9, 0.05)[..., None]) * kerb
        )
        colour -= 30 * np.clip(1 - np.abs(z - 13.7) * along, 0, 1)[..., None]
        stripes = (np.abs((x + 0.3) % 1.1 - 0.55) < 0.27) & (np.abs(z - 8.4) < 0.75) & (x > -4.5) & (x < -0.2)
        colour += 46 * stripes.astype(np.float32)[..., None]
    if scene.ground == "gravel":
        lawn = np.clip(((z - 15.6) + 0.35 * noise(20.0)) * along, 0, 1)[..., None]
        grass = np.array([88, 112, 66], np.float32) + 1.3 * tone[..., None]
        colour = colour * (1 - lawn) + grass * lawn
    canvas.image[:] = colour


def _facade(canvas: _Canvas, z: float) -> None:
    rng, scene = canvas.rng, canvas.scene
    base = canvas.pixel(0, 0, z)[1]
    tint = np.array([(142, 118, 100), (128, 124, 118), (150, 136, 112)][int(rng.integers(3))], np.float32)
    rows = np.arange(base)[:, None]
    bricks = 4.0 * ((rows // 5) % 2) + rng.normal(0, 4, (base, canvas.w))
    canvas.image[:base] = tint + bricks.astype(np.float32)[..., None]
    canvas.rectangle(-40, 0, 40, 0.5, z, tuple(float(c) * 0.72 for c in tint))
    for storey in (1.1, 4.2):
        for x in np.arange(-13, 13.1, 2.2) + 0.4:
            if scene.arch is not None and abs(x - scene.arch) < 1.9 and storey < 2:
                continue
            glass = float(rng.uniform(55, 90))
            canvas.rectangle(x - 0.62, storey - 0.08, x + 0.62, storey + 1.66, z, (186, 180, 168))
            canvas.rectangle(x - 0.52, storey, x + 0.52, storey + 1.58, z, (glass, glass + 8, glass + 16))
            canvas.rectangle(x - 0.04, storey, x + 0.04, storey + 1.58, z, (186, 180, 168))
    mask = np.zeros((canvas.h, canvas.w), np.uint8)
    mask[:base] = 255
    if scene.arch is not None:
        for target, outer, inner in ((canvas.image, (178, 170, 154), (70, 66, 62)), (mask, None, (0,))):
            for grow, colour in ((0.18, outer), (0.0, inner)):
                if colour is None:
                    continue
                half, spring = 1.15 + grow, 2.0
                canvas.rectangle(scene.arch - half, -0.3, scene.arch + half, spring, z, colour, target)
                radius = canvas.length(half, z)
                cv2.ellipse(target, canvas.pixel(scene.arch, spring, z), (radius, radius), 0, 180, 360, colour, -1)
        floor = canvas.pixel(0, 0, z + 3.0)[1]
        left, right = canvas.pixel(scene.arch - 1.15, 0, z)[0], canvas.pixel(scene.arch + 1.15, 0, z)[0]
        canvas.image[floor:base, left:right] = (96, 91, 84)
        canvas.image[base : canvas.pixel(0, -0.25, z)[1] + 1, left:right] = canvas.image[base + 14, left:right]
    canvas.occlude(z, mask)


def _water(canvas: _Canvas) -> None:
    camera = canvas.scene.camera
    horizon, edge = round(camera.horizon * OVERSAMPLING), canvas.pixel(0, 0, 16.6)[1]
    sky = np.linspace(0, 1, horizon, dtype=np.float32)[:, None, None]
    canvas.image[:horizon] = (1 - sky) * np.array([150, 172, 196], np.float32) + sky * np.array(
        [198, 206, 210], np.float32
    )
    depth = np.linspace(0, 1, edge - horizon, dtype=np.float32)[:, None, None]
    ripples = cv2.resize(canvas.rng.normal(0, 1, (edge - horizon, 40)).astype(np.float32), (canvas.w, edge - horizon))
    canvas.image[horizon:edge] = np.array([116, 138, 150], np.float32) * (1 - 0.28 * depth) + 6 * ripples[..., None]
    town = cv2.resize(
        canvas.rng.uniform(4, 15, (1, 22)).astype(np.float32), (canvas.w, 1), interpolation=cv2.INTER_NEAREST
    )
    for column, height in enumerate(town[0]):
        canvas.image[horizon - int(height) : horizon + 2, column] = (132, 138, 142)
    mask = np.zeros((canvas.h, canvas.w), np.uint8)
    for target, colour in ((canvas.image, (74, 78, 82)), (mask, (255,))):
        for height in (0.12, 0.62, 1.08):
            canvas.rectangle(-20, height, 20, height + 0.06, 16.6, colour, target)
        for x in np.arange(-14, 14.1, 1.4):
            canvas.rectangle(x - 0.04, 0, x + 0.04, 1.12, 16.6, colour, target)
    canvas.occlude(16.6, mask)


def _stand(canvas: _Canvas, prop: Prop, width: float) -> np.ndarray:
    """Paint the soft shadow at a prop's foot; returns an empty mask for the prop."""
    shade = np.zeros((canvas.h, canvas.w), np.float32)
    centre = canvas.pixel(prop.x + 0.4 * width * canvas.scene.light[0], 0, prop.z)
    half = canvas.length(width, prop.z)
    cv2.ellipse(shade, centre, (half, max(1, half // 3)), 0, 0, 360, 0.38, -1)
    canvas.image *= 1 - cv2.GaussianBlur(shade, (0, 0), 3)[..., None]
    return np.zeros((canvas.h, canvas.w), np.uint8)


def _tree(canvas: _Canvas, prop: Prop) -> None:
    mask = _stand(canvas, prop, 1.1)
    for target, colour in ((canvas.image, (84, 66, 50)), (mask, (255,))):
        canvas.rectangle(prop.x - 0.13, 0, prop.x + 0.13, 2.6, prop.z, colour, target)
    for _ in range(70):
        angle, radius = canvas.rng.uniform(0, 2 * np.pi), 1.25 * np.sqrt(canvas.rng.uniform())
        leaf = canvas.pixel(prop.x + radius * np.cos(angle), 3.4 + 0.85 * radius * np.sin(angle), prop.z)
        green = 78 + 26 * np.sin(angle) * radius + canvas.rng.normal(0, 9)
        size = canvas.length(0.34, prop.z)
        cv2.circle(canvas.image, leaf, size, (0.74 * green, green, 0.55 * green), -1)
        cv2.circle(mask, leaf, size, (255,), -1)
    canvas.occlude(prop.z, mask)


def _lamp(canvas: _Canvas, prop: Prop) -> None:
    mask = _stand(canvas, prop, 0.3)
    for target, colour in ((canvas.image, (58, 62, 66)), (mask, (255,))):
        canvas.rectangle(prop.x - 0.055, 0, prop.x + 0.055, 4.2, prop.z, colour, target)
        canvas.rectangle(prop.x - 0.10, 0, prop.x + 0.10, 0.5, prop.z, colour, target)
        canvas.rectangle(prop.x - 0.24, 4.2, prop.x + 0.24, 4.55, prop.z, colour, target)
    canvas.occlude(prop.z, mask)


def _planter(canvas: _Canvas, prop: Prop) -> None:
    mask = _stand(canvas, prop, 1.0)
    for target, colour in ((canvas.image, (126, 108, 92)), (mask, (255,))):
        canvas.rectangle(prop.x - 0.8, 0, prop.x + 0.8, 0.55, prop.z, colour, target)
    for _ in range(30):
        leaf = canvas.pixel(prop.x + canvas.rng.uniform(-0.75, 0.75), 0.6 + canvas.rng.uniform(0, 0.35), prop.z)
        green = 92 + canvas.rng.normal(0, 14)
        cv2.circle(canvas.image, leaf, canvas.length(0.15, prop.z), (0.7 * green, green, 0.55 * green), -1)
        cv2.circle(mask, leaf, canvas.length(0.15, prop.z), (255,), -1)
    canvas.occlude(prop.z, mask)


def _bench(canvas: _Canvas, prop: Prop) -> None:
    mask = _stand(canvas, prop, 0.9)
    for target, colour in ((canvas.image, (98, 72, 50)), (mask, (255,))):
        for low, high in ((0.40, 0.50), (0.62, 0.72), (0.80, 0.90)):
            canvas.rectangle(prop.x - 0.85, low, prop.x + 0.85, high, prop.z, colour, target)
        for x in (-0.7, 0.7):
            canvas.rectangle(prop.x + x - 0.04, 0, prop.x + x + 0.04, 0.9, prop.z, colour, target)
    canvas.occlude(prop.z, mask)


def _bollard(canvas: _Canvas, prop: Prop) -> None:
    mask = _stand(canvas, prop, 0.3)
    for target, colour in ((canvas.image, (66, 68, 72)), (mask, (255,))):
        canvas.rectangle(prop.x - 0.09, 0, prop.x + 0.09, 0.85, prop.z, colour, target)
    canvas.rectangle(prop.x - 0.09, 0.62, prop.x + 0.09, 0.72, prop.z, (190, 188, 184))
    canvas.occlude(prop.z, mask)


_PROPS = {"tree": _tree, "lamp": _lamp, "planter": _planter, "bench": _bench, "bollard": _bollard}
