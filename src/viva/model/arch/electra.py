"""ELECTRA (Clark et al. 2020, https://arxiv.org/abs/2003.10555): BERT, pretrained to tell the tokens that a small
masked model put in from those that were there. The small one is the family with the head `masked`.
"""

from typing import Any, ClassVar

from pydantic import Field

from viva.model.arch import bert
from viva.model.arch._family import Keys, held, pairs
from viva.model.head import masked, replaced
from viva.model.norm import layernorm
from viva.model.spec import Entry

MODEL_TYPE = "electra"
HEADS = {
    "replaced": "ElectraForPreTraining",
    "masked": "ElectraForMaskedLM",
    "none": "ElectraModel",
    "classify": "ElectraForSequenceClassification",
    "tag": "ElectraForTokenClassification",
    "span": "ElectraForQuestionAnswering",
}


class Config(bert.Config):
    """`inner` is the width of the embeddings, that of the model where it is left out."""

    between: ClassVar[dict[str, Any]] = {"dense": "gelu", "dense_dropout": 0.0}

    inner: int | None = Field(None, gt=0)

    def entry(self) -> Entry:
        inner = None if self.inner == self.width else self.inner
        return super().entry().model_copy(update={"inner": inner})

    def own_head(self):
        return replaced.Config(activation=self.activation)


def from_hf(keys: Keys) -> Config:
    keys.ignore(
        summary_type="belongs to a head for multiple choice",
        summary_use_proj="belongs to a head for multiple choice",
        summary_activation="belongs to a head for multiple choice",
        summary_last_dropout="belongs to a head for multiple choice",
    )
    fields = bert.sizes(keys, hidden=1024)
    dropout = bert.classifier_dropout(keys, fields["dropout"])
    generator = masked.Config(activation="gelu", norm=layernorm.Config(eps=fields["eps"]))
    dense = {"dense": "gelu", "dense_dropout": dropout["classify"]}
    head = bert.read_head(keys, HEADS, dropout, {"masked": generator}, **dense)
    return Config(**fields, inner=keys.take("embedding_size", 128), head=head)


def to_hf(config: Config) -> dict[str, Any]:
    return {**bert.sizes_to_hf(config), **bert.head_to_hf(config), "embedding_size": config.inner or config.width}


BASE = "electra."
TENSORS = (
    *bert.body(BASE),
    *pairs({"electra.embeddings_project": "encoder.entry.project"}),
    *pairs({"classifier.dense": "head.dense", "classifier.out_proj": "head.out"}, head="classify"),
    *pairs({"classifier": "head.out"}, head="tag"),
    *pairs({"qa_outputs": "head.out"}, head="span"),
    *pairs(
        {"generator_predictions.dense": "head.dense", "generator_predictions.LayerNorm": "head.norm"}, head="masked"
    ),
    held("generator_lm_head.bias", "head.bias", head="masked"),
    *pairs(
        {"discriminator_predictions.dense": "head.dense", "discriminator_predictions.dense_prediction": "head.out"},
        head="replaced",
    ),
)

TINY = Config(vocab=64, width=32, inner=16, layers=2, heads=4, hidden=48, context=64)
