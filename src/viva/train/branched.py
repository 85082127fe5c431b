"""Replies to one prompt as one document, so that the prompt is read once for all of them: a tree.

The prompt without its last token is the stem. Behind it lie the replies, each a branch that begins with that last token
and sees the stem and itself. Every token has the place that it has in prompt and reply alone, so a model that tells
tokens by their places gives the same states, but for rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from viva.align.reply import Reply
from viva.base.config import kind
from viva.model.mask.branches import Branches
from viva.model.transformer import Transformer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.reading import Reading

LONGEST = 512  # tokens of a tree: its mask is the square of that, where a prompt that is read again has none
ROW = 128  # tokens that a row has room for at least: trees fill it one after another


def can_branch(model: nn.Module) -> bool:
    """Whether it reads a tree as it reads each reply alone: one that tells tokens by the places they are said to have,
    not by how many slots apart they lie, and without virtual tokens or norms over a batch.
    """
    if not isinstance(model, Transformer) or model.decoder is None or model.virtual is not None:
        return False
    stack = model.decoder
    schemes = [stack.spec.entry.position, *(block.position for block in stack.spec.blocks)]
    windows = [block.attention.window for block in stack.spec.blocks if block.attention]
    by_place = all(scheme.by_place or kind(scheme) == "none" for scheme in schemes)
    return by_place and not stack.over_batch and all(window is None or window >= LONGEST for window in windows)


def together(replies: Sequence[Reply]) -> list[list[Reply]]:
    """Replies to one prompt that lie side by side, as many as are no longer than it: more would cost more in scores
    between them, which no one sees, than the prompt does.
    """
    found: list[list[Reply]] = []
    for reply in replies:
        prompt = reply.prompt.ids
        alike = found and found[-1][0].prompt.ids == prompt
        size = len(reply.ids) + (sum(len(other.ids) for other in found[-1]) if alike else 0)
        if alike and size <= len(prompt) and len(prompt) + size <= LONGEST:
            found[-1].append(reply)
        else:
            found.append([reply])
    return found


def branched(groups: Sequence[Sequence[Reply]], pad: int) -> Batch:
    """The batch of groups of replies to one prompt each, a tree each, in their order."""
    rows = _rows([_tree(replies) for replies in groups])
    fills = {"ids": pad, "targets": IGNORE, "positions": 0, "branches": 0}
    laid = {name: Reading.laid([[getattr(tree, name) for tree in row] for row in rows], f) for name, f in fills.items()}
    return Batch(
        laid["ids"],
        laid["targets"],
        tuple(tuple(len(tree.ids) for tree in row) for row in rows),
        mask=Branches(laid["branches"]),
        positions=laid["positions"],
        spoken=tuple(len(reply.ids) for replies in groups for reply in replies),
    )


@dataclass(frozen=True)
class Tree:
    """All [n]: tokens, what follows them in a reply, their places, and in which branch they are."""

    ids: np.ndarray
    targets: np.ndarray
    positions: np.ndarray
    branches: np.ndarray


def _tree(replies: Sequence[Reply]) -> Tree:
    """That of replies to one prompt."""
    *stem, fork = replies[0].prompt.ids
    sizes = [len(reply.ids) for reply in replies]
    read = [token for reply in replies for token in (fork, *reply.ids[:-1])]
    said = [token for reply in replies for token in reply.ids]
    places = [len(stem) + place for size in sizes for place in range(size)]
    return Tree(
        ids=np.array([*stem, *read]),
        targets=np.array([*[IGNORE] * len(stem), *said]),
        positions=np.array([*range(len(stem)), *places]),
        branches=np.repeat(np.arange(len(sizes) + 1), [len(stem), *sizes]),
    )


def _rows(trees: Sequence[Tree]) -> list[list[Tree]]:
    """Trees in their order, as many in a row as it has room for."""
    room = max(ROW, *(len(tree.ids) for tree in trees))
    rows: list[list[Tree]] = []
    for tree in trees:
        if not rows or sum(len(other.ids) for other in rows[-1]) + len(tree.ids) > room:
            rows.append([])
        rows[-1].append(tree)
    return rows
