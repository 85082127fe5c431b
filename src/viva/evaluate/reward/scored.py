"""Pairs of answers as a reward model scores them."""

import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from viva.base.errors import Notice, Refusal, counted, notices
from viva.infer.together import read_together, require_fit
from viva.infer.use import require_head
from viva.model.whole import Whole
from viva.text.preflight.check import examples
from viva.text.rows.format.preference import Config as Format
from viva.text.rows.row import Row
from viva.text.tokens.tokenizer import Tokenizer


@dataclass(frozen=True)
class Side:
    """An answer as text, without its prompt and without special tokens, and how many tokens it has."""

    text: str
    tokens: int


@dataclass(frozen=True)
class Pairs:
    """`where` the rows stand, their answers, the chosen one first, and `wholes`: of each the ids with its prompt."""

    where: list[str]
    sides: list[tuple[Side, Side]]
    wholes: list[tuple[tuple[int, ...], tuple[int, ...]]]

    @cached_property
    def longer(self) -> np.ndarray:
        """By how many tokens the chosen answer is longer, [N]."""
        return np.array([chosen.tokens - rejected.tokens for chosen, rejected in self.sides])

    def some(self, kept: np.ndarray) -> "Pairs":
        """Those where `kept` [N] is true."""
        at = np.flatnonzero(kept)
        return Pairs(*([held[i] for i in at] for held in (self.where, self.sides, self.wholes)))

    def among(self, others: "Pairs") -> int:
        """How many of them are among others, by the tokens of prompt and answers."""
        known = set(others.wholes)
        return sum(both in known for both in self.wholes)


@dataclass(frozen=True)
class Scored:
    """`rewards` [N, 2] of the answers of `pairs`; `left_out`: how many other pairs are too long for the model;
    `unread`: how many rows cannot be read.
    """

    pairs: Pairs
    rewards: np.ndarray
    left_out: int = 0
    unread: int = 0

    @cached_property
    def margins(self) -> np.ndarray:
        """By how much the chosen answer is worth more, [N]."""
        return self.rewards[:, 0] - self.rewards[:, 1]


def read(rows: Iterable[Row], form: Format, tokenizer: Tokenizer, drop: bool = False) -> tuple[Pairs, int]:
    """The pairs in `rows`, and how many rows are not read: refused unless it is to `drop` them, and then said."""
    rows, said = list(rows), Counter()
    with notices(lambda notice: said.update([notice])):
        made = list(zip(rows, examples(rows, form, tokenizer), strict=True))
    refused = [found for _, found in made if isinstance(found, Refusal)]
    if refused and not drop:
        raise refused[0]
    if refused:
        said[f"{len(refused):,} of {len(rows):,} rows cannot be read and are left out, such as {refused[0]}"] = 1
    for sentence in counted(said):
        warnings.warn(Notice(sentence), stacklevel=2)
    made = [(row, found) for row, found in made if not isinstance(found, Refusal)]
    wholes, sides = [], []
    for _, pair in made:
        parts = [(pair.ids[: pair.cut], pair.mask[: pair.cut]), (pair.ids[pair.cut :], pair.mask[pair.cut :])]
        answers = [[number for number, learned in zip(*part, strict=True) if learned] for part in parts]
        wholes.append(tuple(tuple(ids) for ids, _ in parts))
        sides.append(tuple(Side(tokenizer.decode(answer, skip_special=True), len(answer)) for answer in answers))
    return Pairs([row.where for row, _ in made], sides, wholes), len(refused)


def score(model: Whole, tokenizer: Tokenizer, form: Format, rows: Iterable[Row], drop: bool = False) -> Scored:
    """What the model says of every pair.

    Refused: a model without the head `regress`, rewards that are not finite or all the same, data without pairs and,
    unless it is to `drop` these, rows that cannot be read and pairs of which an answer is too long to be read with its
    prompt.
    """
    require_head(model, "regress")
    pairs, unread = read(rows, form, tokenizer, drop)
    fits = [max(map(len, both)) <= model.spec.context for both in pairs.wholes]
    if drop:
        pairs = pairs.some(np.array(fits, bool))
    if not pairs.where:
        must = f"a reward model must be measured on pairs of answers of at most {model.spec.context} tokens"
        raise Refusal(must, "none", "give rows with two answers")
    wholes = [ids for both in pairs.wholes for ids in both]
    for place, ids in zip(np.repeat(pairs.where, 2), wholes, strict=True):
        require_fit(model, f"{place}, a prompt with its answer,", len(ids))
    model.eval()
    rewards = torch.cat([found.float() for found in read_together(model, wholes)]).cpu().double().numpy()
    if np.ptp(rewards) == 0:
        found = f"{rewards[0]:g} for all of {len(rewards):,} answers"
        raise Refusal("a reward must tell answers apart", found, "train the model, or load an intact one")
    return Scored(pairs, rewards.reshape(-1, 2), fits.count(False), unread)
