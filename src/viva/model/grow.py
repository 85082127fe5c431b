"""A model for a grown vocabulary: one more row of the embeddings and of the head for each new token.

A new row is the mean of the rows of the pieces that the token's text had before, and so is its number in the head's
bias: the model begins by taking the token for the average of its pieces.
"""

import torch
from torch import Tensor

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model.head import Vocabulary
from viva.model.init import hollow
from viva.model.linear.joined import assemble, pieces
from viva.model.whole import Whole


def grow(config: Config, model: Whole, new: dict[int, list[int]]) -> tuple[Config, Whole]:
    """The config and the model with a row for each id of `new`, made of the rows of the ids it stands for.

    All other rows are the same numbers. Rows that a model has beyond its tokenizer's ids are used first.
    """
    if model.spec.vocab is None:
        raise Refusal("a model must read text to have more tokens", "one that reads images", "use a model of text")
    config = config.model_copy(update={"vocab": max(model.spec.vocab, max(new) + 1)})
    with hollow():
        grown = config.spec().build()
    found = {name: tensor.detach() for name, tensor in pieces(model).items()}
    assemble(grown, found | {name: _rows(found[name], new, config.vocab) for name in _of_tokens(model)})
    return config, grown.train(model.training)


def _of_tokens(model: Whole) -> list[str]:
    """The names of the tensors with a row for each token."""
    head = [f"head.{leaf}" for leaf in ("weight", "bias") if getattr(model.head, leaf, None) is not None]
    return ["embedding.weight", *(head if isinstance(model.head, Vocabulary) else [])]


def _rows(table: Tensor, new: dict[int, list[int]], vocab: int) -> Tensor:
    grown = torch.cat([table, table.new_zeros(vocab - len(table), *table.shape[1:])])
    for number, made_of in new.items():
        grown[number] = table[made_of].double().mean(0).to(table.dtype)
    return grown
