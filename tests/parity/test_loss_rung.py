"""The ladder's rung of losses: for each head that a family's twins have a class for, what viva's objective makes of a
batch is the loss that the class makes of the same labels.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from twins import ATOL, FAMILIES, B, Pair, T, examples

from viva.base.choice import variant
from viva.base.config import Config, kind
from viva.model.arch import t5, vit
from viva.model.arch._family import their_kind
from viva.model.head import classify as class_head
from viva.model.head import masked as masked_head
from viva.model.head import regress, replaced
from viva.model.head import span as span_head
from viva.model.head import tag as tag_head
from viva.train.batch import Batch, Source
from viva.train.loss import IGNORE
from viva.train.loss.class_loss import class_cross_entropy
from viva.train.objective import Base, causal, classify, detect, masked, seq2seq, span, tag

CLASSES = 3
ROWS = ((T,),) * B
PAD = 0
TOLD = (2, 0)  # the rows' classes
NO_LABELS = ("clip_text", "clip_vision")  # what their twins do not take
OF_WORDS = {name: tiny for name, tiny in examples().items() if name not in (*NO_LABELS, "vit")}
HEADS = {
    "masked": masked_head.Config(),
    "replaced": replaced.Config(),
    "classify": class_head.Config(labels=CLASSES),
    "regress": regress.Config(),
    "tag": tag_head.Config(labels=CLASSES),
    "span": span_head.Config(),
}
Lesson = tuple[Base, Batch, dict[str, Tensor]]


def some(labels: Tensor, share: float) -> Tensor:
    """A share of the labels, IGNORE in place of the others."""
    kept = torch.rand(labels.shape, generator=torch.Generator().manual_seed(7)) < share
    return torch.where(kept, labels, IGNORE)


def next_words(pair: Pair) -> Lesson:
    """Transformers' class shifts the labels of a decoder, and not those of a decoder behind an encoder."""
    labels = some(pair.x, 0.8)
    targets = torch.cat([labels[:, 1:], torch.full((B, 1), IGNORE)], 1)
    if not pair.both:
        return causal.Config(), Batch(pair.x, targets, ROWS), {"labels": labels}
    source = Source(pair.source, tuple((len(row),) for row in pair.source))
    return seq2seq.Config(), Batch(pair.x, targets, ROWS, source), {"labels": targets}


def masked_words(pair: Pair) -> Lesson:
    labels = some(pair.x, 0.3)
    return masked.Config(), Batch(pair.x, labels, ROWS), {"labels": labels}


def replaced_words(pair: Pair) -> Lesson:
    labels = pair.x % 2
    return detect.Config(), Batch(pair.x, labels, ROWS), {"labels": labels}


def classes(pair: Pair) -> Lesson:
    labels = torch.tensor(TOLD)
    return classify.Config(), Batch(pair.x, labels.double(), ROWS), {"labels": labels}


def values(pair: Pair) -> Lesson:
    labels = torch.tensor([0.7, -1.3])
    return classify.Config(), Batch(pair.x, labels, ROWS), {"labels": labels}


def tags(pair: Pair) -> Lesson:
    labels = some(pair.x % CLASSES, 0.8)
    return tag.Config(), Batch(pair.x, labels, ROWS), {"labels": labels}


def places(pair: Pair) -> Lesson:
    """Theirs looks for an answer everywhere, so all is text: no question stands before it."""
    ends, text = torch.tensor([[3, 9], [0, T - 1]]), torch.ones(1, B * T, dtype=torch.long)
    batch = Batch(pair.x.view(1, B * T), ends, ((T,) * B,), segments=text)
    told = {"token_type_ids": text.view(B, T)} if pair.ours.tells_segments else {}
    return span.Config(), batch, {"start_positions": ends[:, 0], "end_positions": ends[:, 1], **told}


LESSONS: dict[str, Callable[[Pair], Lesson]] = {
    "lm": next_words,
    "masked": masked_words,
    "replaced": replaced_words,
    "classify": classes,
    "regress": values,
    "tag": tags,
    "span": places,
}


def cases() -> dict[str, tuple[str, Config]]:
    """Of each family that reads words its tiny example, with each head that its twins have a class for."""
    found: dict[str, tuple[str, Config]] = {}
    for name, tiny in OF_WORDS.items():
        own = kind(tiny.spec().head)
        found[f"{name}-{own}"] = (name, tiny)
        for other, head in HEADS.items():
            if other != own and their_kind(head) in variant(FAMILIES, name).HEADS:
                found[f"{name}-{other}"] = (name, tiny.model_copy(update={"head": tiny.fitted(head)}))
    v1_1 = {"gated": True, "activation": "gelu_tanh", "tied": False}
    return {**found, "t5-v1.1-lm": ("t5", t5.TINY.model_copy(update=v1_1))}


CASES = cases()


def test_every_head_with_a_loss_is_on_the_rung():
    """Of each family's classes those alone are left out that end in states, of which nothing is predicted."""
    on = {(name, their_kind(config.spec().head)) for name, config in CASES.values()}
    there = {(name, head) for name in OF_WORDS for head in variant(FAMILIES, name).HEADS if head != "regress"}
    assert {pair for pair in there if pair[1] != "none"} == on


@pytest.mark.parametrize("case", CASES)
def test_an_objectives_loss_is_the_twins(case, tmp_path):
    name, config = CASES[case]
    pair = Pair(name, config, tmp_path / "saved")
    if pair.ours.decoder is not None:
        pair.twin.config.pad_token_id = PAD  # their classes for texts look for the last token that is none
    objective, batch, labels = LESSONS[kind(config.spec().head)](pair)
    objective.require(pair.ours)
    with torch.no_grad():
        found = objective.build()(pair.ours, batch)
        theirs = pair.twin(**pair.read(pair.x, pair.source), **labels).loss
    torch.testing.assert_close(found.sum / found.count, theirs, atol=ATOL, rtol=1e-5)


def test_the_loss_of_images_is_the_twins(tmp_path):
    """No rows have images yet: the loss that classify takes of scores, of ViT's."""
    pair, labels = Pair("vit", vit.TINY, tmp_path / "saved"), torch.tensor(TOLD)
    with torch.no_grad():
        found = class_cross_entropy(pair.mine(pair.x), labels) / B
        torch.testing.assert_close(found, pair.twin(pair.x, labels=labels).loss, atol=ATOL, rtol=1e-5)
