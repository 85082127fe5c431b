"""The model that a policy is held to: frozen, and loaded from a folder, so that a resumed run has the same."""

import torch

from viva.base.errors import Refusal
from viva.model import folder
from viva.model.transformer import Transformer
from viva.train import checkpoint
from viva.train.objective import Ground


def reference(ground: Ground) -> Transformer:
    """The model that a run's first weights came from, in fp32 on the policy's device; refused where there is none, or
    one whose ids mean something else.
    """
    if ground.parent is None:
        fix = "set `init` to the model to be held to, or leave the divergence from it out"
        raise Refusal("a policy must have come from a model to be held to it", "a new model", fix)
    where = checkpoint.located(ground.parent)
    loaded = folder.load(where, torch.float32)
    loaded.tokenizer.fingerprint.require_ids(ground.tokenizer.fingerprint, f"the reference {where}")
    return loaded.model.to(ground.model.embedding.weight.device).eval().requires_grad_(False)
