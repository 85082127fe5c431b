"""The merges that were learned, without any that would make a special token out of a text that only spells its name."""

import json

import tokenizers
from tokenizers import models


def kept(core: tokenizers.Tokenizer, fixed: list[str], **options) -> models.BPE:
    """The model that `core` learned, made with these options, in which no merge gives one of the tokens `fixed`."""
    model, fixed = json.loads(core.to_str())["model"], set(fixed)
    merges = [tuple(merge) for merge in model["merges"] if "".join(merge) not in fixed]
    return models.BPE(model["vocab"], merges, **options)
