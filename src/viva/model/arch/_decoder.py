"""What decoders' published classes have on top beside words: a class for each text, by its last token (without bias),
or for each token. Of one class it is a number, such as the reward of an answer.
"""

from typing import Any

from viva.base.config import Config, kind
from viva.model.arch._family import Held, Keys, held, labels_to_hf, of_sequence, pairs, their_kind
from viva.model.head import none, tag

DROPOUT = "classifier_dropout"  # their key of the dropout before the scores of tokens


def heads(name: str, words: str = "ForCausalLM") -> dict[str, str]:
    """HEADS of a family whose classes are called `name`, the one that scores words with the ending `words`."""
    return {
        "lm": name + words,
        "classify": f"{name}ForSequenceClassification",
        "regress": f"{name}ForSequenceClassification",
        "tag": f"{name}ForTokenClassification",
        "none": f"{name}Model",
    }


def read_head(keys: Keys, heads: dict[str, str], tied: bool) -> Config | None:
    """The head that config.json names; None is the family's own, which a bare model whose embeddings are `tied` holds
    too.
    """
    found, labels, dropout = keys.head(heads), keys.labels(), keys.take(DROPOUT, 0.1, null=0.1)
    if found == "classify":
        return of_sequence(keys, labels, bias=False)
    if found == "tag":
        return tag.Config(labels=labels, dropout=dropout)
    return none.Config() if found == "none" and not tied else None


def head_to_hf(head: Config) -> dict[str, Any]:
    """The keys by which a decoder says what its head is, and whether it multiplies by the token embeddings."""
    dropout = {DROPOUT: head.dropout} if kind(head) == "tag" else {}
    return {"tie_word_embeddings": getattr(head, "tied", False), **labels_to_hf(head), **dropout}


def fitted(head: Config, dropout: float) -> Config:
    """A head as their classes have it; `dropout` is the model's."""
    changed = {"classify": {"bias": False}, "tag": {"dropout": dropout}}
    return head.model_copy(update=changed.get(their_kind(head), {}))


def head_rows(tokens: str = "score") -> tuple[Held, ...]:
    """The rows of these heads; `tokens` is their name of the one for tokens."""
    return (
        *(held("score.weight", "head.out.weight", head=head) for head in ("classify", "regress")),
        *pairs({tokens: "head.out"}, head="tag"),
    )
