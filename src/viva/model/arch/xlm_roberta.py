"""XLM-RoBERTa (Conneau et al. 2020, https://arxiv.org/abs/1911.02116): RoBERTa, trained on a hundred languages."""

from viva.model.arch import roberta
from viva.model.arch._family import Keys

MODEL_TYPE = "xlm-roberta"
HEADS = {kind: f"XLM{name}" for kind, name in roberta.HEADS.items()}


class Config(roberta.Config):
    """The fields of `roberta`."""


def from_hf(keys: Keys) -> Config:
    return Config(**roberta.fields(keys, HEADS))


to_hf, BASE, TENSORS = roberta.to_hf, roberta.BASE, roberta.TENSORS

TINY = Config(vocab=64, width=32, layers=2, heads=4, hidden=48, context=64)
