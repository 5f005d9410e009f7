"""Whether the models of orbits do what they are for: what they make of a thing is its view from the angle asked for.

A view that is made is held against the true view of its angle, and against those from 30 degrees to the right, to the
left, above and below. A model that does not obey its camera is as near to one of these as to the true one.

Axes: f frames, h height, w width, c channels, v views.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import torch
from torch import Tensor

from ..models.svd import SVDModel, load_svd
from ..pipelines.sv3d import SV3DOptions, orbit
from .measuring import Measurement, MeasuringOptions, Number, OnProgress
from .objects import ORBITS, ObjectsOptions, Orbit, compose, render_object, render_orbit

THINGS = 50
OFF_DEGREES = 30.0
HIGHEST_DEGREES = 85.0  # beside a pole, a little less or more around is the same view
SEARCHED_DEGREES = 10.0  # steps in which the angle that a view shows is looked for
RATE = 7.0
COLUMNS_OF_PATHS = ("seed", "kind", "path", "nearer", "PSNR", "of the picture", "with another path")
COLUMNS_OF_TURNS = ("seed", "kind", "elevation", "nearer", "PSNR", "of the picture", "angle off", "turns")


@dataclass(frozen=True)
class Made:
    """Views that were made of a thing, without the last, which is the picture; and what they should be."""

    scene: Orbit
    views: Tensor  # (f h w c)
    truth: Tensor  # (f h w c)
    picture: Tensor  # (h w c)

    @property
    def angles(self) -> list[tuple[float, float]]:
        return list(zip(self.scene.elevations, self.scene.azimuths, strict=True))[:-1]

    @property
    def nearer(self) -> float:
        """The share of views that are nearer to the true one than to any view that is 30 degrees off."""
        return fmean(
            _is_nearest(view, self.scene, *angles) for view, angles in zip(self.views, self.angles, strict=True)
        )

    @property
    def psnr(self) -> float:
        return _decibels(self.views, self.truth)

    @property
    def picture_psnr(self) -> float:
        """Of the picture itself in the place of every view."""
        return _decibels(self.picture.expand_as(self.truth), self.truth)


def measure_paths(options: MeasuringOptions, on_progress: OnProgress) -> Measurement:
    """Let sv3d_p look at held-out things along held-out paths, and along those paths the other way round."""
    model = load_svd(options.model or "builtin:sv3d_p", dtype=torch.float32, device=options.device)
    rows, made, swapped = [], [], []

    def look(seed: int) -> None:
        path = ORBITS[seed % len(ORBITS)]
        scene = compose(_options(model, seed, path))
        one = _made(model, scene, options.steps)
        other = _made(model, _other_way(scene), options.steps)
        made.append(one)
        swapped.append(_follows(other, one))
        rows.append((seed, scene.thing.kind, path, one.nearer, one.psnr, one.picture_psnr, swapped[-1]))

    _for_each(options, on_progress, look)
    return Measurement(
        title=f"Things that no recipe drew, along camera paths ({len(rows)}): views against the true ones",
        columns=COLUMNS_OF_PATHS,
        rows=tuple(rows),
        numbers=(
            *_numbers(made),
            Number(name="views that follow when the path is another", value=fmean(swapped), at_least=0.8),
        ),
    )


def measure_turns(options: MeasuringOptions, on_progress: OnProgress) -> Measurement:
    """Let sv3d_u go round held-out things, and look from where each of its views was taken."""
    model = load_svd(options.model or "builtin:sv3d_u", dtype=torch.float32, device=options.device)
    rows, made, errors, turns = [], [], [], []

    def look(seed: int) -> None:
        scene = compose(_options(model, seed, "turn"))
        one = _made(model, scene, options.steps)
        found = found_azimuths(one)
        off = [abs(_wrapped(at - asked)) for at, (_, asked) in zip(found, one.angles, strict=True)]
        made.append(one)
        errors.extend(off)
        turns.append(turns_of([*found, scene.azimuths[-1]]))
        shown = (one.nearer, one.psnr, one.picture_psnr, median(off), turns[-1])
        rows.append((seed, scene.thing.kind, scene.elevations[0], *shown))

    _for_each(options, on_progress, look)
    return Measurement(
        title=f"Things that no recipe drew, once around each ({len(rows)}): views against the true ones",
        columns=COLUMNS_OF_TURNS,
        rows=tuple(rows),
        numbers=(
            *_numbers(made),
            Number(name="median error of the angle", value=median(errors), unit="degrees", at_most=OFF_DEGREES / 2),
            Number(name="things gone round once", value=fmean(turn == 1 for turn in turns), at_least=0.8),
        ),
    )


def found_azimuths(made: Made) -> list[float]:
    """The azimuth at which each view is nearest to the true one."""
    count = round(360 / SEARCHED_DEGREES)
    azimuths = [SEARCHED_DEGREES * number for number in range(count)]
    elevation, size = made.scene.elevations[0], made.views.shape[1]
    true = render_orbit(made.scene.thing, [elevation] * count, azimuths, size)
    return [azimuths[int((true - view).square().flatten(1).mean(1).argmin())] for view in made.views]


def turns_of(azimuths: Sequence[float]) -> int:
    """How often angles go round, from the last through all of them, each the shorter way from the one before."""
    before = [azimuths[-1], *azimuths[:-1]]
    return round(sum(_wrapped(after - last) for last, after in zip(before, azimuths, strict=True)) / 360)


def _wrapped(degrees: float) -> float:
    """The same angle in -180..180."""
    return (degrees + 180) % 360 - 180


def _options(model: SVDModel, seed: int, path: str) -> ObjectsOptions:
    return ObjectsOptions(
        seconds=model.frames / RATE,
        frames_per_second=RATE,
        width=model.width,
        height=model.width,
        seed=seed,
        orbit=path,
    )


def _other_way(scene: Orbit) -> Orbit:
    """The same path, seen in a mirror: what went right goes left."""
    last = scene.azimuths[-1]
    azimuths = tuple(2 * last - azimuth for azimuth in scene.azimuths)
    return Orbit(thing=scene.thing, elevations=scene.elevations, azimuths=azimuths)


def _made(model: SVDModel, scene: Orbit, steps: int) -> Made:
    truth = render_orbit(scene.thing, scene.elevations, scene.azimuths, model.width)
    options = SV3DOptions(frames=len(truth), steps=steps)
    if model.family != "sv3d_u":
        options = replace(options, elevations_deg=scene.elevations, azimuths_deg=scene.azimuths)
    views = orbit(model, truth[-1], options).cpu()
    return Made(scene, views[:-1], truth[:-1], truth[-1])


def _is_nearest(view: Tensor, scene: Orbit, elevation: float, azimuth: float) -> bool:
    beside = [(elevation, azimuth + OFF_DEGREES), (elevation, azimuth - OFF_DEGREES)]
    beside += [(height, azimuth) for height in (elevation + OFF_DEGREES, elevation - OFF_DEGREES)]
    angles = [(elevation, azimuth), *((e, a) for e, a in beside if abs(e) <= HIGHEST_DEGREES)]
    errors = [(render_object(scene.thing, *each, len(view)) - view).square().mean().item() for each in angles]
    return errors[0] < min(errors[1:])


def _follows(other: Made, one: Made) -> float:
    """The share of views along another path that are nearer to the true ones of it than to those of the first path."""
    far = [
        frame
        for frame, ((_, azimuth), (_, was)) in enumerate(zip(other.angles, one.angles, strict=True))
        if abs(_wrapped(azimuth - was)) >= OFF_DEGREES
    ]
    errors = [
        [(other.views[frame] - truth[frame]).square().mean() for truth in (other.truth, one.truth)] for frame in far
    ]
    return fmean(bool(mine < theirs) for mine, theirs in errors) if errors else math.nan


def _numbers(made: Sequence[Made]) -> tuple[Number, ...]:
    return (
        Number(
            name="views nearer to the truth than 30 degrees off", value=fmean(one.nearer for one in made), at_least=0.8
        ),
        Number(name="PSNR", value=fmean(one.psnr for one in made), unit="dB"),
        Number(
            name="PSNR of the picture in each view's place", value=fmean(one.picture_psnr for one in made), unit="dB"
        ),
    )


def _decibels(views: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(max((views - truth).square().mean().item(), 1e-10))


def _for_each(options: MeasuringOptions, on_progress: OnProgress, look: Callable[[int], None]) -> None:
    seeds = options.held_out(THINGS)
    on_progress("Things", 0, len(seeds))
    for done, seed in enumerate(seeds, 1):
        look(seed)
        on_progress("Things", done, len(seeds))
