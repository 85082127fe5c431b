"""A recipe: everything that makes a run, in the folder it belongs to."""

import shutil
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, field_validator, model_validator

from viva.base.choice import Choice
from viva.base.config import Config, read_yaml
from viva.base.errors import Refusal, nearest
from viva.base.files import write_text
from viva.text.rows.format import auto
from viva.text.tokens import grow
from viva.text.tokens.templates import names
from viva.train.job import Train
from viva.train.objective import causal

FILE, HEALTH = "recipe.yaml", "train.health."
TOKENIZER = "tokenizer"  # the folder, in that of the run, of a tokenizer trained for it


class Recipe(Config):
    """A run from data to checkpoint, in the folder `out`.

    Either `model`, a family and its sizes, starts anew, or `init`, a folder or hub id, goes on from there.
    `tokenizer`: the folder of one or of a run, or how to train one on the data; left out, that of `init` or a new one.
    `add_tokens` grows the vocabulary of `init`, its embeddings and its head by tokens, special ones among them.
    `template`: a chat template of viva's in place of the tokenizer's own; a new tokenizer gets the tokens it needs.
    `filter`: what of `data` is left out, one filter after another; `augment`: what is added to the rows that are
    trained on, each kind of copies beside the others. `head`: what stands on the last states; left out, the model's own
    where the objective can use it, else what the objective needs. `adapter`: what is trained in place of the weights of
    `init`, which stay as they are; a new head is trained with it. `valid`: the share of the rows that
    is held out, unless `held_out` says where other rows for that come from.
    """

    out: str
    seed: int = 0
    model: Choice("viva.model.arch") | None = None
    init: str | None = None
    head: Choice("viva.model.head") | None = None
    adapter: Choice("viva.model.adapt") | None = None
    tokenizer: str | Choice("viva.text.tokens.learn", usual="byte_bpe") | None = None
    add_tokens: grow.Config | None = None
    template: str | None = None
    data: Choice("viva.text.rows.corpus")
    format: Choice("viva.text.rows.format") = auto.Config()
    filter: tuple[Choice("viva.text.rows.filter"), ...] = ()
    augment: tuple[Choice("viva.text.rows.augment"), ...] = ()
    valid: float = Field(0.02, ge=0, lt=1)
    held_out: Choice("viva.text.rows.corpus") | None = None
    objective: Choice("viva.train.objective") = causal.Config()
    train: Train

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if (self.model is None) == (self.init is None):
            raise ValueError("must have either `model`, to start anew, or `init`, to go on from a checkpoint")
        if self.train.eval_every and not self.valid and self.held_out is None:
            raise ValueError("train.eval_every needs held-out rows: set `valid` to for example 0.02, or `held_out`")
        return self

    @field_validator("template")
    @classmethod
    def _known_template(cls, name: str | None) -> str | None:
        if name is not None and name not in names():
            raise ValueError(f"must be a chat template that comes with viva; {nearest(name, names())}")
        return name

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.add_tokens is not None and (self.init is None or self.tokenizer is not None):
            raise ValueError("add_tokens grows the vocabulary of `init`, so it needs one, and no other `tokenizer`")
        return self

    @model_validator(mode="after")
    def _adapts(self) -> Self:
        if self.adapter is not None and self.init is None:
            raise ValueError("adapter changes a trained model, so it needs an `init`")
        if self.adapter is not None and self.add_tokens is not None:
            raise ValueError("adapter leaves the base as it is: add the tokens to it first, with `viva tokenizer add`")
        return self

    @model_validator(mode="after")
    def _one_head(self) -> Self:
        usual = self.model and type(self.model).model_fields["head"].default
        if self.head is not None and self.model is not None and self.model.head not in (None, usual, self.head):
            raise ValueError("must say once what stands on the last states: leave out head, or model.head")
        return self

    @model_validator(mode="after")
    def _one_remedy(self) -> Self:
        if self.train.balanced and getattr(self.objective, "weights", None) == "balanced":
            raise ValueError("must make up for small classes once: leave out objective.weights, or train.balanced")
        return self

    def resolved(self) -> dict[str, Any]:
        """Every field with its value, defaults included, as plain data."""
        return self.model_dump(mode="json")


def claim(recipe: Recipe) -> Path:
    """The folder of the run, with the resolved recipe in it.

    Refused if a run of another recipe has checkpoints there. One that came to none is begun anew: what it made of
    its recipe goes.
    """
    out = Path(recipe.out)
    if claimable(recipe):
        shutil.rmtree(out / TOKENIZER, ignore_errors=True)
        write_text(out / FILE, yaml.safe_dump(recipe.resolved(), sort_keys=False, allow_unicode=True))
    return out


def claimable(recipe: Recipe) -> list[str]:
    """In what the recipe differs from the one in its folder, all where there is none; refused as in `claim`."""
    out = Path(recipe.out)
    differing = _differing(read_yaml(out / FILE), recipe.resolved()) if (out / FILE).is_file() else ["all"]
    if differing and any(out.glob("checkpoints/step-*")):
        fix = "give the same recipe to resume that run, or another `out` to begin a new one"
        raise Refusal(f"the recipe must be the one that {out} was begun with", ", ".join(differing), fix)
    return differing


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The leaves in which two recipes differ, with both values; where the run lies does not matter, nor by what it
    is told to be in trouble.
    """
    there, here = dict(leaves(before)), dict(leaves(now))
    same = lambda key: there.get(key) == here.get(key) or key == "out" or key.startswith(HEALTH)  # noqa: E731
    keys = [key for key in {**there, **here} if not same(key)]
    return [f"{key}={here.get(key)!r} (there: {there.get(key)!r})" for key in keys]


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """(dotted path, value) of every leaf.

    >>> leaves({"a": {"b": 1}, "c": [2]})
    [('a.b', 1), ('c', [2])]
    """
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for key, below in tree.items() for leaf in leaves(below, f"{path}.{key}".lstrip("."))]
