"""Texts read whole, many in one pass: they lie end to end in one row, so that none is padded to another's length."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer.given import given
from viva.model.layout import Layout
from viva.model.mask.given import Given
from viva.model.whole import Whole
from viva.text.tokens.example import Example

PACK = 4096  # tokens that are read in one pass


def read_examples(model: Whole, examples: Sequence[Example | None], apart: bool = False) -> Iterator[Tensor]:
    """What the head makes of the examples that a format has made of texts, as `read_together` gives it; refused: a text
    that the format leaves out, and one that is longer than the model reads.
    """
    if None in examples:
        raise Refusal("a text must have words to be read", f"none in text {examples.index(None)}", "leave it out")
    ids, cuts = [example.ids for example in examples], [example.cut for example in examples]
    require_fit(model, "a text to be read whole", max(_lengths(ids, cuts, apart), default=0))
    yield from read_together(model, ids, cuts, apart)


def require_fit(model: Whole, what: str, length: int) -> None:
    """Refuse `what` if it has more tokens than the model reads at once."""
    if length > model.spec.context:
        fix = "shorten it, or use a model with a longer context"
        raise Refusal(f"{what} must have at most {model.spec.context} tokens", length, fix)


@torch.no_grad()
def read_together(
    model: Whole,
    texts: Sequence[list[int]],
    cuts: Sequence[int] = (),
    apart: bool = False,
    unseen: int | None = None,
) -> Iterator[Tensor]:
    """What the head makes of texts in their order, of as many at a time as fill PACK tokens.

    `cuts`: for each text where its second part begins, 0 where it has one part. The parts are one document, of which a
    model without segments reads on, or with `apart` two. No token attends to the id `unseen`, not even where it
    stands. Refused: numbers that are not finite.
    """
    at = 0
    for pack in _packs(texts):
        ids = given(model, [[number for text in pack for number in text]])
        here = cuts[at : at + len(pack)]
        mask = None if unseen is None else Given((ids != unseen).expand(ids.shape[1], -1))
        layout = Layout.packed((_lengths(pack, here, apart),), ids.shape[1], ids.device, mask)
        yield _finite(model(ids, layout, segments=None if apart else _segments(model, pack, here, ids.device)))
        at += len(pack)


def _lengths(texts: Sequence[list[int]], cuts: Sequence[int], apart: bool) -> tuple[int, ...]:
    """Those of the documents that texts are."""
    if not apart:
        return tuple(map(len, texts))
    return tuple(n for text, cut in zip(texts, cuts, strict=True) for n in (cut, len(text) - cut))


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


def _finite(scores: Tensor) -> Tensor:
    if not bool(scores.isfinite().all()):
        fix = "load the model in float32, or load an intact one"
        raise Refusal("a model's scores must be finite", "NaN or infinity", fix)
    return scores
