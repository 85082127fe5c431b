"""An encoder that sees a damaged text both ways and scores what stood at the damaged places."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from viva.base.errors import Refusal
from viva.infer.trained import Trained
from viva.model.transformer import Transformer
from viva.train.batch import Batch
from viva.train.loss import IGNORE
from viva.train.objective import Loss, words


def require_both_ways(model: Transformer, what: str) -> None:
    """Refuse a model that does not see its text both ways, or writes another."""
    if model.decoder is not None:
        found = "a decoder, which sees only what came before" if model.encoder is None else "an encoder and a decoder"
        fix = "use a family of encoders such as bert, or the objective causal"
        fix = fix if model.encoder is None else "use the objective spans or denoise"
        raise Refusal(f"a model must be an encoder {what}", found, fix)


def require_masks_seen(manifest: Mapping[str, Any], what: str) -> None:
    """Refuse a model that others learn from by masks, where its folder says that it never read one."""
    if not Trained.told(manifest, what).reads_masks:
        found = "one trained by permute, which reads no mask"
        raise Refusal(f"{what} must have learned to guess masked words", found, "name a model trained by masked")


def filled(model: nn.Module, batch: Batch) -> Loss:
    """The cross-entropy of the targets in nats; in evaluation with the number of those guessed right, `accuracy`."""
    hidden = model.hidden(batch.ids, batch.layout)
    total = words(model, hidden, batch.targets)
    if model.training:
        return Loss(total, batch.count, hidden=hidden)
    learned = batch.targets != IGNORE
    right = model.logits(hidden[learned]).argmax(-1) == batch.targets[learned]
    return Loss(total, batch.count, {"accuracy": float(right.sum())})
