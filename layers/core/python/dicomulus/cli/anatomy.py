"""A trunk and a head, roughly, as ellipsoids: the patients of the sample studies."""

from __future__ import annotations

import math
import random
from typing import Final

from dicomulus.cli.phantom import Ellipsoid, Point, between, tube

# Lengths in mm; x to the patient's left, y to the back, z to the head.
_ENDLESS: Final = 4000.0


def trunk() -> list[Ellipsoid]:
    """Chest and upper abdomen, the diaphragm at z = 0; `TRUNK_TISSUES` has its tissues."""
    return [
        *_wall(),
        *_abdomen(),
        *_lungs(),
        *_heart(),
        *_spine(),
        *_ribs(),
        Ellipsoid((0, 146, 0), (200, 9, _ENDLESS), "couch", power=6),
    ]


# Hounsfield units in the portal venous phase.
TRUNK_TISSUES: Final = {
    "air": -1000,
    "couch": -700,
    "lung": -840,
    "fat": -100,
    "water": 10,
    "disc": 80,
    "muscle": 55,
    "bowel": 45,
    "cartilage": 110,
    "liver": 110,
    "spleen": 125,
    "heart": 105,
    "nodule": 40,
    "vein": 165,
    "kidney": 190,
    "artery": 210,
    "vessel": 90,
    "marrow": 210,
    "bone": 620,
}


def _mirrored(shapes: list[Ellipsoid]) -> list[Ellipsoid]:
    return shapes + [
        Ellipsoid((-s.centre[0], s.centre[1], s.centre[2]), s.radii, s.tissue, s.power)
        for s in shapes
    ]


def _wall() -> list[Ellipsoid]:
    return [
        Ellipsoid((0, 0, 0), (166, 118, _ENDLESS), "fat", power=2.4),
        *_mirrored(
            [
                Ellipsoid((125, 10, 225), (68, 66, 95), "fat"),
                Ellipsoid((125, 10, 225), (60, 58, 88), "muscle"),
                Ellipsoid((140, 5, 200), (24, 24, 26), "bone"),
                Ellipsoid((140, 5, 200), (20, 20, 22), "marrow"),
            ]
        ),
        Ellipsoid((0, 2, 0), (151, 104, _ENDLESS), "muscle", power=2.3),
        *_mirrored(
            [
                Ellipsoid((70, -92, 120), (62, 12, 60), "muscle"),
                *tube([(115, 85, 165), (85, 92, 60)], 4, "bone"),
                *tube([(15, -78, 168), (70, -74, 182), (125, -20, 200)], 6, "bone"),
                *tube([(15, -78, 168), (70, -74, 182), (125, -20, 200)], 3.5, "marrow"),
            ]
        ),
    ]


def _abdomen() -> list[Ellipsoid]:
    chance = random.Random(20)  # noqa: S311 - a body, no secret
    shapes = [Ellipsoid((0, -10, -150), (132, 78, 170), "fat", power=2.6)]
    for _ in range(46):
        # Loops of bowel, some with gas in front, where gas rises to.
        x, y = chance.uniform(-100, 100), chance.uniform(-70, 10)
        z, size = chance.uniform(-205, -118), chance.uniform(11, 19)
        if (x / 118) ** 2 + ((y + 12) / 66) ** 2 > 1:
            continue
        shapes.append(Ellipsoid((x, y, z), (size * 1.3, size, size), "bowel"))
        shapes.append(Ellipsoid((x, y, z), (size * 1.1, size - 3, size - 3), "water"))
        if chance.random() < 0.4:
            shapes.append(Ellipsoid((x, y - 5, z), (size * 0.8, size - 9, size - 6), "air"))
    return [
        *shapes,
        *_mirrored(
            [
                *tube([(26, 62, -60), (40, 60, -200)], 17, "muscle", end=24),
                Ellipsoid((64, 42, -112), (27, 26, 54), "kidney"),
                Ellipsoid((54, 38, -112), (13, 11, 26), "fat"),
                *tube([(52, 36, -112), (40, 40, -150), (36, 42, -200)], 3, "water"),
            ]
        ),
        *tube([(-25, -18, -75), (10, -26, -70), (60, 5, -60)], 12, "liver", end=8),
    ]


def _domes() -> list[Ellipsoid]:
    """What bulges into the chest from below."""
    shapes = [
        Ellipsoid((-60, -6, -58), (76, 82, 78), "liver", power=2.3),
        Ellipsoid((5, -44, -48), (70, 36, 38), "liver"),
        Ellipsoid((96, 40, -42), (34, 42, 52), "spleen"),
        Ellipsoid((66, -22, -38), (50, 46, 46), "bowel"),
        Ellipsoid((66, -22, -38), (46, 42, 42), "water"),
        Ellipsoid((68, -46, -34), (34, 17, 30), "air"),
        Ellipsoid((-60, -52, -95), (16, 20, 26), "water"),
    ]
    shapes += _branches(
        (-20, 8, -10), (-1, -0.35, -0.5), seed=7, radius=5.5, length=34, depth=5, tissue="vein"
    )
    return shapes


def _lungs() -> list[Ellipsoid]:
    right, left = (-77.0, 4.0, 72.0), (79.0, 6.0, 72.0)
    shapes = [
        Ellipsoid((0, -10, 70), (66, 72, 100), "fat"),
        Ellipsoid(right, (62, 86, 128), "lung", power=2.3),
        Ellipsoid(left, (60, 84, 128), "lung", power=2.3),
    ]
    for hilum, lung in (((-34.0, 8.0, 72.0), right), ((36.0, 8.0, 76.0), left)):
        for number in range(11):
            angle = number / 11 * 2 * math.pi
            side = math.copysign(0.75, hilum[0])
            way = (side, math.cos(angle), 1.3 * math.sin(angle))
            seed = number + (100 if hilum[0] < 0 else 0)
            shapes += [
                shape
                for shape in _branches(
                    hilum, way, seed=seed, radius=4.2, length=26, depth=6, tissue="vessel"
                )
                if _is_within(shape.centre, lung, (57, 80, 122))
            ]
    shapes.append(Ellipsoid((-88, -22, 118), (6.5, 6, 6), "nodule"))
    return shapes + _domes()


def _branches(
    start: Point, way: Point, *, seed: int, radius: float, length: float, depth: int, tissue: str
) -> list[Ellipsoid]:
    """A tree of vessels that fork in two, narrower and shorter each time."""
    chance = random.Random(seed)  # noqa: S311 - a body, no secret
    shapes: list[Ellipsoid] = []
    twigs = [(start, _unit(way), radius, length, depth)]
    while twigs:
        point, direction, size, reach, left = twigs.pop()
        stop = (
            point[0] + direction[0] * reach,
            point[1] + direction[1] * reach,
            point[2] + direction[2] * reach,
        )
        shapes += tube([point, stop], size, tissue, end=size * 0.75)
        if left > 1:
            for _ in range(2):
                bend = [part + chance.uniform(-0.7, 0.7) for part in direction]
                onward = _unit((bend[0], bend[1], bend[2]))
                twigs.append((stop, onward, max(0.7, size * 0.66), reach * 0.82, left - 1))
    return shapes


def _unit(way: Point) -> Point:
    length = math.hypot(*way) or 1.0
    return way[0] / length, way[1] / length, way[2] / length


def _is_within(point: Point, centre: Point, radii: Point) -> bool:
    return sum(((p - c) / r) ** 2 for p, c, r in zip(point, centre, radii, strict=True)) < 1


def _heart() -> list[Ellipsoid]:
    return [
        *tube([(0, 16, 215), (0, 18, 150), (0, 20, 92)], 10.5, "muscle"),
        *tube([(0, 20, 96), (-38, 14, 70)], 8.5, "muscle"),
        *tube([(0, 20, 96), (40, 18, 72)], 8, "muscle"),
        *tube([(0, 16, 215), (0, 18, 150), (0, 20, 92)], 8.5, "air"),
        *tube([(0, 20, 96), (-38, 14, 70)], 6.5, "air"),
        *tube([(0, 20, 96), (40, 18, 72)], 6, "air"),
        Ellipsoid((18, -30, 28), (62, 52, 52), "heart"),
        Ellipsoid((42, -26, 20), (25, 22, 30), "artery"),
        Ellipsoid((0, -52, 24), (32, 19, 34), "vein"),
        Ellipsoid((-30, -22, 40), (22, 24, 28), "vein"),
        Ellipsoid((12, 8, 46), (30, 17, 20), "artery"),
        *tube([(8, -38, 62), (14, -18, 82), (34, 2, 80), (48, 10, 76)], 12, "vein", end=8),
        *tube([(14, -10, 82), (-20, -4, 76), (-46, 4, 70)], 10, "vein", end=7),
        *tube([(-16, -22, 170), (-30, -18, 90), (-30, -18, 50)], 8.5, "vein"),
        *tube(
            [(8, -28, 45), (-14, -28, 85), (-10, -18, 112), (8, 4, 126), (22, 34, 112)],
            14,
            "artery",
        ),
        *tube([(22, 34, 112), (25, 42, 60), (18, 40, -20), (8, 38, -205)], 12, "artery", end=9),
        *tube([(-24, 12, 12), (-22, 14, -30), (-20, 36, -205)], 12, "vein"),
        *_mirrored([*tube([(10, -2, 125), (20, 4, 170), (34, 10, 210)], 4.5, "artery")]),
        *_mirrored([*tube([(10, 38, -105), (40, 42, -112)], 3.5, "artery")]),
        *tube([(6, 30, -70), (4, 8, -85), (0, 0, -200)], 4, "artery", end=3),
    ]


def _spine() -> list[Ellipsoid]:
    shapes = [Ellipsoid((0, 64, 0), (21, 16, _ENDLESS), "disc")]
    shapes += _mirrored([Ellipsoid((34, 92, 0), (26, 15, _ENDLESS), "muscle", power=2.4)])
    for level in range(-8, 9):
        z = level * 27.0
        shapes += [
            Ellipsoid((0, 63, z), (23, 18, 11.5), "bone", power=4),
            Ellipsoid((0, 63, z), (20, 15, 9.5), "marrow", power=4),
            *_mirrored(
                [
                    *tube([(12, 80, z), (15, 90, z), (40, 94, z)], 5.5, "bone"),
                    *tube([(15, 92, z), (0, 104, z - 4)], 4.5, "bone"),
                ]
            ),
            *tube([(0, 102, z - 4), (0, 118, z - 18)], 4.5, "bone", end=6),
        ]
    return [
        *shapes,
        Ellipsoid((0, 87, 0), (10, 8.5, _ENDLESS), "water"),
        Ellipsoid((0, 87, 0), (5.5, 4.5, _ENDLESS), "disc"),
    ]


def _ribs() -> list[Ellipsoid]:
    bone, inside = [], []
    for number in range(12):
        top = 196 - 23 * number
        width = 142 - 50 * max(0, 3 - number) / 3
        end = 150 if number < 8 else 150 - 18 * (number - 7)
        path: list[Point] = []
        for degrees in range(14, end + 1, 4):
            angle = math.radians(degrees)
            x, y = width * math.sin(angle), 2 + 96 * math.cos(angle)
            path.append((x, y, top - 62 * degrees / 150))
        bone += tube(path, 5.5, "bone")
        inside += tube(path, 3, "marrow")
        if number < 7:
            bone += tube([path[-1], (12, -95, path[-1][2] + 8)], 5.5, "cartilage")
    return [
        *_mirrored(bone),
        *_mirrored(inside),
        Ellipsoid((0, -97, 95), (17, 7, 72), "bone", power=4),
        Ellipsoid((0, -97, 95), (14.5, 4.5, 69), "marrow", power=4),
    ]


def head() -> list[Ellipsoid]:
    """A head, the middle of its brain at z = 0; `HEAD_TISSUES` has its tissues."""
    return [*_face(), *_skull(), *_brain(), *_depths(), *_base(), *_hindbrain()]


# Signal by weighting; arbitrary units.
HEAD_TISSUES: Final = {
    "t1": {
        "air": 0, "fat": 1150, "skin": 700, "muscle": 520, "bone": 60, "marrow": 650, "csf": 170,
        "eye": 190, "grey": 610, "deep": 690, "white": 880, "lesion": 600, "vessel": 120,
    },
    "t2": {
        "air": 0, "fat": 800, "skin": 450, "muscle": 210, "bone": 50, "marrow": 420, "csf": 1500,
        "eye": 1550, "grey": 760, "deep": 650, "white": 520, "lesion": 1050, "vessel": 40,
    },
    "flair": {
        "air": 0, "fat": 750, "skin": 450, "muscle": 300, "bone": 50, "marrow": 420, "csf": 90,
        "eye": 120, "grey": 760, "deep": 690, "white": 580, "lesion": 1200, "vessel": 60,
    },
}  # fmt: skip


def _face() -> list[Ellipsoid]:
    return [
        Ellipsoid((0, 22, -130), (58, 62, 110), "skin"),
        Ellipsoid((0, 22, -130), (54, 58, 110), "muscle"),
        Ellipsoid((0, -32, -72), (62, 66, 68), "skin", power=2.4),
        Ellipsoid((0, -32, -72), (57, 61, 64), "fat", power=2.4),
        Ellipsoid((0, -20, -76), (50, 54, 60), "muscle", power=2.4),
        Ellipsoid((0, -98, -48), (15, 15, 26), "skin"),
        *_mirrored([Ellipsoid((79, 18, -36), (6, 16, 28), "skin")]),
    ]


def _skull() -> list[Ellipsoid]:
    return [
        Ellipsoid((0, 0, 0), (79, 100, 93), "skin"),
        Ellipsoid((0, 0, 0), (77, 98, 91), "fat"),
        Ellipsoid((0, 0, 0), (73, 94, 87), "bone"),
        Ellipsoid((0, 0, 0), (70.5, 91.5, 84.5), "marrow"),
        Ellipsoid((0, 0, 0), (69, 90, 83), "bone"),
        Ellipsoid((0, 0, 0), (67, 88, 81), "csf"),
    ]


def _base() -> list[Ellipsoid]:
    """The base of the skull and what lies under it."""
    return [
        Ellipsoid((0, -58, -66), (56, 48, 42), "muscle", power=2.4),
        Ellipsoid((0, 0, -92), (46, 62, 30), "muscle", power=2.4),
        *_mirrored(
            [
                Ellipsoid((33, -58, -42), (23, 26, 19), "fat"),
                *tube([(33, -62, -42), (14, -28, -42)], 3.5, "muscle"),
                Ellipsoid((34, -70, -42), (13.5, 13.5, 13.5), "eye"),
                Ellipsoid((34, -80, -42), (5, 3, 5), "muscle"),
                Ellipsoid((30, -54, -76), (16, 18, 18), "air"),
                Ellipsoid((52, 22, -56), (12, 16, 14), "bone"),
                *tube([(22, -6, -130), (24, 0, -70), (12, -8, -46)], 3, "vessel"),
            ]
        ),
        Ellipsoid((0, -64, -66), (12, 34, 26), "muscle"),
        *_mirrored([Ellipsoid((6, -64, -68), (3.5, 30, 22), "air")]),
        Ellipsoid((0, -22, -54), (13, 14, 11), "air"),
        Ellipsoid((0, -82, 2), (17, 7, 16), "air"),
        *tube([(0, -10, -80), (0, -6, -180)], 10, "air"),
        Ellipsoid((0, -52, -110), (26, 34, 14), "muscle"),
    ]


def _brain() -> list[Ellipsoid]:
    chance = random.Random(4)  # noqa: S311 - a body, no secret
    gyri: list[Ellipsoid] = []
    sulci: list[Ellipsoid] = []
    for number in range(250):
        trail = _trail(chance, is_left=number % 2 == 0)
        for near, far in trail:
            if number % 3 == 0:
                gyri += tube([far, between(far, near, 0.6)], 2.6, "white", end=1.6)
            else:
                sulci += tube([near, far], 1.5, "csf", end=0.8)
    corpus = tube([(0, -34, 6), (0, -24, 20), (0, 4, 25), (0, 28, 20), (0, 36, 8)], 4.5, "white")
    return [
        Ellipsoid((0, 0, 0), (65, 86, 79), "grey"),
        Ellipsoid((0, 2, 4), (54, 74, 66), "white"),
        *gyri,
        # The cortex on either side of the falx, and the fissure of Sylvius.
        Ellipsoid((0, 0, 0), (5, 86, 79), "grey"),
        *_mirrored(tube([(50, -34, -14), (56, -10, -4), (58, 18, 8)], 3, "csf")),
        *sulci,
        Ellipsoid((0, 0, 0), (1.3, 87, 80), "csf"),
        Ellipsoid((0, 4, 2), (15, 46, 28), "white"),
        *_mirrored(tube([(2, 8, 24), (24, 8, 30)], 6, "white")),
        *corpus,
    ]


def _trail(chance: random.Random, *, is_left: bool) -> list[tuple[Point, Point]]:
    """A wandering line on the surface of a hemisphere, as pairs of a point there and one below."""
    side = 1 if is_left else -1
    around = side * chance.uniform(0.05, math.pi - 0.05)
    up = chance.uniform(-0.6, 1.3)
    turn = chance.uniform(0, 2 * math.pi)
    trail = []
    for _ in range(chance.randrange(12, 26)):
        turn += chance.uniform(-0.5, 0.5)
        around += 0.035 * math.cos(turn)
        up = min(1.5, max(-0.8, up + 0.035 * math.sin(turn)))
        way = (math.cos(up) * math.sin(around), math.cos(up) * math.cos(around), math.sin(up))
        near = _on_surface(way, 66, 87, 80)
        far = _on_surface(way, 52, 73, 65)
        trail.append((near, far))
    return trail


def _on_surface(way: Point, x: float, y: float, z: float) -> Point:
    return x * way[0], y * way[1], z * way[2]


def _depths() -> list[Ellipsoid]:
    lateral = [
        *tube([(8, -34, 4), (9, -18, 12), (10, 4, 18), (13, 26, 14), (22, 38, 2)], 6, "csf"),
        *tube([(22, 38, 2), (30, 18, -18), (34, -4, -26)], 4.5, "csf", end=3),
        *tube([(20, 38, 4), (17, 60, 6)], 4.5, "csf", end=2),
    ]
    nuclei = [
        Ellipsoid((12, 8, 4), (9, 15, 11), "deep"),
        Ellipsoid((25, -6, 2), (8, 21, 13), "deep"),
        *tube([(13, -32, 4), (14, -16, 16), (17, 8, 22), (22, 24, 16)], 6, "deep", end=2),
        *tube([(38, -24, -2), (41, 0, 4), (38, 14, 8)], 2.2, "grey"),
        Ellipsoid((28, -12, -26), (7, 14, 7), "grey"),
    ]
    chance = random.Random(11)  # noqa: S311 - a body, no secret
    lesions = []
    for number in range(15):
        side = 1 if number % 2 else -1
        size = chance.uniform(1.8, 4.2)
        place = (side * chance.uniform(17, 30), chance.uniform(-42, 52), chance.uniform(14, 36))
        lesions.append(Ellipsoid(place, (size * 1.5, size, size), "lesion"))
    return [
        *_mirrored([*nuclei, *lateral]),
        *lesions,
        Ellipsoid((0, 4, -4), (2.6, 15, 12), "csf"),
        Ellipsoid((0, -18, -26), (8, 8, 7), "csf"),
    ]


def _hindbrain() -> list[Ellipsoid]:
    folia = []
    for number in range(13):
        y = 24 + 4.2 * number
        width = 48 * math.sqrt(1 - ((y - 50) / 34) ** 2)
        folia.append(Ellipsoid((0, y, -46), (width, 0.9, 22), "csf"))
    return [
        Ellipsoid((0, 48, -44), (56, 42, 30), "csf"),
        *_mirrored([Ellipsoid((22, 50, -46), (28, 33, 25), "grey")]),
        *folia,
        *_mirrored([Ellipsoid((18, 46, -44), (15, 17, 11), "white")]),
        Ellipsoid((0, 56, -44), (7, 24, 20), "grey"),
        Ellipsoid((0, 26, -46), (20, 16, 34), "csf"),
        *tube([(0, 6, -14), (0, 12, -26)], 13, "white"),
        Ellipsoid((0, 8, -42), (17, 14, 15), "white"),
        *tube([(0, 13, -54), (0, 22, -80)], 8.5, "white", end=6.5),
        Ellipsoid((0, 30, -150), (10, 10, 72), "csf"),
        Ellipsoid((0, 30, -150), (6, 5.5, 76), "white"),
        Ellipsoid((0, 28, -44), (6, 4.5, 12), "csf"),
    ]
