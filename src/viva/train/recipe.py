"""A recipe: everything that makes a run, in the folder it belongs to."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from viva.base.choice import Choice
from viva.base.config import Config, read_yaml
from viva.base.errors import Refusal
from viva.base.files import write_text
from viva.text import bpe
from viva.text.format import text
from viva.train.job import Train
from viva.train.objective import causal

FILE = "recipe.yaml"


class Recipe(Config):
    """A run from data to checkpoint, in the folder `out`.

    Either `model`, a family and its sizes, starts anew, or `init`, a folder or hub id, goes on from there.
    `tokenizer`: the folder of one, or how to train one on the data; left out, that of `init`, or a new one.
    `valid`: the share of the rows that is held out.
    """

    out: str
    seed: int = 0
    model: Choice("viva.model.arch") | None = None
    init: str | None = None
    tokenizer: str | bpe.Config | None = None
    data: Choice("viva.text.corpus")
    format: Choice("viva.text.format") = text.Config()
    valid: float = Field(0.02, ge=0, lt=1)
    objective: Choice("viva.train.objective") = causal.Config()
    train: Train

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if (self.model is None) == (self.init is None):
            raise ValueError("must have either `model`, to start anew, or `init`, to go on from a checkpoint")
        if self.train.eval_every and not self.valid:
            raise ValueError("train.eval_every needs held-out rows: set `valid` to for example 0.02")
        return self

    def resolved(self) -> dict[str, Any]:
        """Every field with its value, defaults included, as plain data."""
        return self.model_dump(mode="json")


def claim(recipe: Recipe) -> Path:
    """The folder of the run, with the resolved recipe in it; one that holds another recipe is refused."""
    out = Path(recipe.out)
    if not (out / FILE).is_file():
        write_text(out / FILE, yaml.safe_dump(recipe.resolved(), sort_keys=False, allow_unicode=True))
        return out
    before, now = (dict(leaves(tree)) for tree in (read_yaml(out / FILE), recipe.resolved()))
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key) and key != "out"]
    if differing:
        found = ", ".join(f"{key}={now.get(key)!r} (there: {before.get(key)!r})" for key in differing)
        fix = "give the same recipe to resume that run, or another `out` to begin a new one"
        raise Refusal(f"the recipe must be the one that {out} was begun with", found, fix)
    return out


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """(dotted path, value) of every leaf.

    >>> leaves({"a": {"b": 1}, "c": [2]})
    [('a.b', 1), ('c', [2])]
    """
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for key, below in tree.items() for leaf in leaves(below, f"{path}.{key}".lstrip("."))]
