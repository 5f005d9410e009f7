"""Things with distinct sides, made up from a seed: no two views of one that are a turn apart look the same.

What lies on the far side can be told from what is seen: opposite sides have opposite colors.
Every thing stands about the origin, upright; its front looks along z, or along x where it is a house.
"""

from collections.abc import Callable
from dataclasses import replace

from .chance import Chance
from .solids import Color, Part, box, cylinder, ellipsoid, prism
from .wording import with_article

PAINTS: dict[str, Color] = {
    "red": (214, 52, 50),
    "orange": (240, 132, 30),
    "yellow": (244, 196, 40),
    "green": (58, 160, 84),
    "blue": (44, 112, 214),
    "purple": (136, 74, 190),
}
OPPOSITE = {"red": "green", "orange": "blue", "yellow": "purple", "green": "red", "blue": "orange", "purple": "yellow"}
DARK, GREY, PALE, GLASS = (52, 54, 62), (132, 138, 148), (226, 222, 210), (150, 196, 222)
WOOD, COFFEE = (150, 98, 58), (92, 58, 36)
STRUT = 0.13


def cube(chance: Chance) -> tuple[str, list[Part]]:
    # Of each two opposite colors one, in any order, is seen from the front.
    front, right, top = (chance.one_of([one, OPPOSITE[one]]) for one in chance.some_of(["red", "orange", "yellow"], 3))
    names = {"right": right, "left": OPPOSITE[right], "top": top, "bottom": OPPOSITE[top]}
    names |= {"front": front, "back": OPPOSITE[front]}
    sides = {side: PAINTS[name] for side, name in names.items()}
    return "a cube of six colors", [box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5), GREY, sides)]


def house(chance: Chance) -> tuple[str, list[Part]]:
    wall, roof, door = chance.some_of(list(PAINTS), 3)
    width, depth, eaves = chance.between(0.38, 0.5), chance.between(0.5, 0.62), chance.between(0.0, 0.14)
    ridge = eaves + chance.between(0.38, 0.5)
    paint, over = PAINTS[wall], 0.08
    gable = [(-width, eaves), (width, eaves), (0.0, ridge)]
    slope = (ridge - eaves) / width
    # The gables look to the left and right, as a prism lies; so the house is drawn turned by a quarter.
    sheet = [(-width - over, eaves - over * slope), (0.0, ridge), (0.0, ridge + 0.1)]
    sheets = [
        [*sheet, (-width - over, eaves - over * slope + 0.1)],
        [(-z, y) for z, y in [*sheet, (-width - over, eaves - over * slope + 0.1)]],
    ]
    front, window = depth + 0.015, 0.1
    return f"{with_article(wall)} house with {with_article(roof)} roof and {with_article(door)} door", [
        box((-depth, -0.6, -width), (depth, eaves, width), paint),
        prism(gable, -depth, depth, paint),
        *(prism(sheet, -depth - over, depth + over, PAINTS[roof]) for sheet in sheets),
        box((depth - 0.1, -0.6, -0.13), (front, -0.1, 0.13), PAINTS[door]),
        box((depth - 0.1, eaves - 0.02, -window), (front, eaves + 0.18, window), GLASS),
        *(
            box((x - 0.12, -0.3, width - 0.1), (x + 0.12, -0.06, width + 0.015), GLASS)
            for x in (-0.5 * depth, 0.5 * depth)
        ),
        box((-0.13, -0.3, -width - 0.015), (0.13, -0.06, -width + 0.1), GLASS),
        box((-0.7 * depth, eaves, -0.75 * width), (-0.7 * depth + 0.2, ridge + 0.2, -0.75 * width + 0.2), WOOD),
    ]


def mug(chance: Chance) -> tuple[str, list[Part]]:
    color = chance.one_of(list(PAINTS))
    badge = chance.one_of([paint for paint in PAINTS if paint not in (color, OPPOSITE[color])])
    stripe = OPPOSITE[badge]
    radius, half = chance.between(0.42, 0.5), chance.between(0.5, 0.62)
    paint, x = PAINTS[color], radius * 0.94
    body = cylinder((0, 0, 0), 1, radius, half, paint)
    hole = cylinder((0, half - 0.1, 0), 1, radius * 0.86, 0.3, PALE)
    hole = replace(hole, colors=(PALE, COFFEE, PALE))
    grip = 0.62 * half
    ring = cylinder((x, 0, 0), 2, grip, 0.09, paint)
    eye = cylinder((x, 0, 0), 2, grip * 0.62, 1.0, paint)
    ring = replace(
        ring,
        normals=(*ring.normals, (-1.0, 0.0, 0.0)),
        offsets=(*ring.offsets, -x),
        colors=(paint, paint, paint, paint),
    )
    # Without a stripe behind, views from behind would be alike while the handle is hidden.
    label = _on_mug(PAINTS[badge], radius, -0.45 * half, 0.45 * half, front=True, left=-0.6, right=0.6)
    band = _on_mug(PAINTS[stripe], radius, -half, half, front=False, left=-0.5, right=0.05)
    words = f"{with_article(color)} mug with {with_article(badge)} label and {with_article(stripe)} stripe"
    return words, [
        replace(body, hollow=hole),
        replace(ring, hollow=eye),
        replace(label, hollow=hole),
        replace(band, hollow=hole),
    ]


def _on_mug(paint: Color, radius: float, low: float, high: float, *, front: bool, left: float, right: float) -> Part:
    """Something painted on one half of a mug's wall; left and right are where the mug's radius is 1."""
    sheet = cylinder((0, (low + high) / 2, 0), 1, radius * 1.012, (high - low) / 2, paint)
    return replace(
        sheet,
        normals=(*sheet.normals, (0.0, 0.0, -1.0 if front else 1.0), (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)),
        offsets=(*sheet.offsets, 0.0, right * radius, -left * radius),
        colors=(paint,) * 6,
    )


LETTERS: dict[str, list[tuple[float, float, float, float]]] = {  # boxes: left, bottom, right, top
    "E": [(-0.45, -0.65, -0.2, 0.65), (-0.2, 0.4, 0.4, 0.65), (-0.2, -0.12, 0.3, 0.12), (-0.2, -0.65, 0.4, -0.4)],
    "F": [(-0.45, -0.65, -0.2, 0.65), (-0.2, 0.4, 0.4, 0.65), (-0.2, -0.12, 0.25, 0.12)],
    "L": [(-0.4, -0.65, -0.12, 0.65), (-0.12, -0.65, 0.4, -0.38)],
    "P": [(-0.4, -0.65, -0.15, 0.65), (-0.15, 0.4, 0.4, 0.65), (0.15, 0.1, 0.4, 0.4), (-0.15, -0.12, 0.4, 0.1)],
    "U": [(-0.45, -0.65, -0.18, 0.65), (-0.18, -0.65, 0.18, -0.38), (0.18, -0.65, 0.45, 0.3)],
    "Z": [(-0.45, 0.4, 0.45, 0.65), (0.12, 0.0, 0.45, 0.4), (-0.45, -0.25, 0.12, 0.0), (-0.45, -0.65, 0.45, -0.25)],
}


def letter(chance: Chance) -> tuple[str, list[Part]]:
    name = chance.one_of(list(LETTERS))
    front = chance.one_of(list(PAINTS))
    back = OPPOSITE[front]
    sides = chance.one_of([paint for paint in PAINTS if paint not in (front, back)])
    depth = chance.between(0.14, 0.24)
    faces = {"front": PAINTS[front], "back": PAINTS[back]}
    return f"a letter {name}, {front} in front and {back} behind", [
        box((left, bottom, -depth), (right, top, depth), PAINTS[sides], faces)
        for left, bottom, right, top in LETTERS[name]
    ]


def car(chance: Chance) -> tuple[str, list[Part]]:
    color, stripe = chance.some_of(list(PAINTS), 2)
    paint, half = PAINTS[color], chance.between(0.34, 0.4)
    hood, roof = chance.between(0.3, 0.45), chance.between(0.36, 0.46)
    cabin = [(-0.6, 0.05), (hood, 0.05), (hood - 0.22, roof), (-0.48, roof)]
    glass = [(-0.52, 0.09), (hood - 0.09, 0.09), (hood - 0.24, roof - 0.06), (-0.43, roof - 0.06)]
    screen = [(hood - 0.01, 0.09), (hood + 0.012, 0.09), (hood - 0.178, roof - 0.06), (hood - 0.2, roof - 0.06)]
    wheels = [
        cylinder((x, -0.26, z), 0, 0.19, 0.07, DARK, ends=GREY)
        for x in (-half + 0.04, half - 0.04)
        for z in (-0.5, 0.5)
    ]
    lights = [(side * half * 0.65, z, tone) for side in (-1, 1) for z, tone in ((0.86, PALE), (-0.86, (190, 20, 30)))]
    return f"{with_article(color)} car with {with_article(stripe)} stripe", [
        prism([(-0.85, -0.26), (0.85, -0.26), (0.85, -0.02), (hood, 0.06), (-0.85, 0.06)], -half, half, paint),
        prism(cabin, -half * 0.9, half * 0.9, paint),
        prism(glass, -half * 0.9 - 0.012, half * 0.9 + 0.012, GLASS),
        prism(screen, -half * 0.75, half * 0.75, GLASS),
        box((-0.08, roof - 0.1, -0.48), (0.08, roof + 0.012, hood - 0.22), PAINTS[stripe]),
        box((-0.2, -0.2, -0.862), (0.2, -0.08, -0.8), PALE),
        *wheels,
        *(box((x - 0.07, -0.12, min(z, 0.9 * z)), (x + 0.07, -0.03, max(z, 0.9 * z)), tone) for x, z, tone in lights),
    ]


def bird(chance: Chance) -> tuple[str, list[Part]]:
    color, wing = chance.some_of([paint for paint in PAINTS if paint != "orange"], 2)
    paint, plump = PAINTS[color], chance.between(0.36, 0.44)
    head = (0.0, chance.between(0.36, 0.44), 0.32)
    return f"{with_article(color)} bird with {wing} wings", [
        ellipsoid((0, -0.12, 0), (plump, plump * 0.92, 0.56), paint),
        ellipsoid(head, (0.27, 0.27, 0.27), paint),
        ellipsoid((0, head[1] - 0.05, head[2] + 0.3), (0.1, 0.06, 0.18), PAINTS["orange"]),
        *(ellipsoid((x, head[1] + 0.08, head[2] + 0.2), (0.055, 0.055, 0.055), DARK) for x in (-0.14, 0.14)),
        *(ellipsoid((x * plump, -0.08, -0.1), (0.1, 0.22, 0.36), PAINTS[wing]) for x in (-1, 1)),
        prism([(-0.4, -0.1), (-0.9, 0.2), (-0.84, 0.32), (-0.3, 0.1)], -0.17, 0.17, PAINTS[wing]),
        *(cylinder((x, -0.6, 0.0), 1, 0.045, 0.16, PAINTS["orange"]) for x in (-0.15, 0.15)),
        *(box((x - 0.09, -0.8, -0.08), (x + 0.09, -0.74, 0.2), PAINTS["orange"]) for x in (-0.15, 0.15)),
    ]


def chair(chance: Chance) -> tuple[str, list[Part]]:
    seat, back, legs = chance.some_of(list(PAINTS), 3)
    half, high = chance.between(0.38, 0.46), chance.between(0.6, 0.75)
    inner = half - STRUT
    corners = [(-half, -half), (inner, -half), (-half, inner), (inner, inner)]
    return f"{with_article(seat)} chair with {with_article(back)} back and {legs} legs", [
        box((-half, -0.12, -half), (half, 0.0, half), PAINTS[seat]),
        box((-half, 0.0, -half), (half, high, -half + STRUT), PAINTS[back]),
        *(box((x, -0.7, z), (x + STRUT, -0.12, z + STRUT), PAINTS[legs]) for x, z in corners),
        box((-half, 0.14, -half), (-half + 0.1, 0.24, half - 0.1), PAINTS[legs]),
        box((-half, 0.0, half - 0.2), (-half + 0.1, 0.14, half - 0.1), PAINTS[legs]),
    ]


KINDS: dict[str, Callable[[Chance], tuple[str, list[Part]]]] = {
    "cube": cube,
    "house": house,
    "mug": mug,
    "letter": letter,
    "car": car,
    "bird": bird,
    "chair": chair,
}
