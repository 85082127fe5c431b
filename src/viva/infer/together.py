"""Texts read whole, many in one pass: they lie end to end in one row, so that none is padded to another's length."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from viva.infer.given import given
from viva.model.layout import Layout
from viva.model.whole import Whole

PACK = 4096  # tokens that are read in one pass


@torch.no_grad()
def read_together(model: Whole, texts: Sequence[list[int]], cuts: Sequence[int] = ()) -> Iterator[Tensor]:
    """What the head makes of texts in their order, of as many at a time as fill PACK tokens.

    `cuts`: for each text where its second part begins, 0 where it has one part; a model without segments reads on.
    """
    at = 0
    for pack in _packs(texts):
        ids = given(model, [[number for text in pack for number in text]])
        layout = Layout.packed((tuple(map(len, pack)),), ids.shape[1], ids.device)
        yield model(ids, layout, segments=_segments(model, pack, cuts[at : at + len(pack)], ids.device))
        at += len(pack)


def _segments(model: Whole, pack: list[list[int]], cuts: Sequence[int], device: torch.device) -> Tensor | None:
    """[1, T]: 0 in the first part of a text and 1 in the second; None where no text has one, or no model tells them."""
    if not model.tells_segments or not any(cuts):
        return None
    parts = [int(i >= (cut or len(text))) for text, cut in zip(pack, cuts, strict=True) for i in range(len(text))]
    return torch.tensor([parts], device=device)


def _packs(texts: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Texts in their order, as many at a time as fill PACK tokens."""
    pack: list[list[int]] = []
    room = PACK
    for text in texts:
        if pack and len(text) > room:
            yield pack
            pack, room = [], PACK
        pack.append(text)
        room -= len(text)
    if pack:
        yield pack
