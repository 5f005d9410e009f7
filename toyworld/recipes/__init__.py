"""How the models that ship with the pack are made: a module for each recipe, and the one list of them."""

from __future__ import annotations

from importlib import import_module

from .recipe import Made, Paused, Recipe, Workshop, follow, refuse_work_on_other_parts

__all__ = ["RECIPES", "Made", "Paused", "Recipe", "Workshop", "follow", "recipe_of", "refuse_work_on_other_parts"]

RECIPES: dict[str, tuple[str, str]] = {
    "vae": ("vae", "RECIPE"),
    "clip": ("clip", "RECIPE"),
    "svd": ("svd", "RECIPE"),
    "svd-moon-lora": ("svd_moon_lora", "RECIPE"),
    "sv3d_p": ("sv3d", "SV3D_P"),
    "sv3d_u": ("sv3d", "SV3D_U"),
}
"""By name, each after what it needs: the module here, and the recipe in it, imported when it is asked for."""


def recipe_of(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"There is no recipe called {name!r}. Choose one of {', '.join(RECIPES)}.")
    module, constant = RECIPES[name]
    found: Recipe = getattr(import_module(f".{module}", __package__), constant)
    return found
