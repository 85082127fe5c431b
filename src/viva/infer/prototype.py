"""Classes told by a few examples: that of the nearest prototype (Snell et al. 2017, https://arxiv.org/abs/1703.05175,
eq. 1 and 2). A class's prototype is the mean of its examples' vectors; with d the Euclidean distance,

    p(k | x) = exp(-d(x, c_k)^2) / sum over k' of exp(-d(x, c_k')^2)
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer.classify import Prediction, prediction
from viva.text.tokens.characters import require_texts


def nearest(vectors: Tensor, examples: Mapping[str, Tensor]) -> list[Prediction]:
    """The class of each of the vectors [N, E], by the `examples` [n, E] of each class."""
    centres = torch.stack([own.float().mean(0) for own in examples.values()])
    distances = torch.cdist(vectors.float(), centres, compute_mode="donot_use_mm_for_euclid_dist")
    return [prediction(row, list(examples)) for row in (-distances.square()).softmax(-1).tolist()]


def require_examples(examples: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The texts of each class; refused where there are fewer than two classes, or one has no text."""
    if not isinstance(examples, Mapping):
        fix = "give for example {'sport': ['a goal in the last minute'], 'money': ['shares fall']}"
        raise Refusal("examples must be a dictionary of the texts of each class", f"{examples!r:.80}", fix)
    if len(examples) < 2:
        found = ", ".join(map(repr, examples)) or "none"
        raise Refusal("there must be examples of two classes at least", found, "give some of another class")
    texts = {name: require_texts(own, f"examples of the class {name!r}") for name, own in examples.items()}
    if empty := [name for name, own in texts.items() if not own]:
        raise Refusal(f"the class {empty[0]!r} must have an example at least", "none", "give it one, or leave it out")
    return texts
