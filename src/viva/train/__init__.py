"""Training: batches, losses, objectives, optimizers, schedules, the one loop, checkpoints, the recipe.

The package can be called: `viva.train("recipes/shakespeare.yaml", {"train.lr": 3e-4})` runs a recipe.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any


class _Train(ModuleType):
    """`viva.train` is this folder and, for who imports viva, the verb; a module may be both."""

    def __call__(self, recipe: str | Path | dict[str, Any], overrides: Iterable[str] | dict[str, Any] = ()) -> Any:
        """Train as a recipe says, a file or its content, changed by `a.b.c=value`; returns a `train.run.Run`."""
        from viva.base.config import parse, read
        from viva.train.recipe import Recipe
        from viva.train.run import run

        given = parse(Recipe, recipe, overrides) if isinstance(recipe, dict) else read(Recipe, recipe, overrides)
        return run(given)


sys.modules[__name__].__class__ = _Train
