"""The mean of several models' weights: a uniform soup (Wortsman et al. 2022, https://arxiv.org/abs/2203.05482, table 2)
or, of checkpoints of one run, stochastic weight averaging (Izmailov et al. 2018, https://arxiv.org/abs/1803.05407).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from viva.base.choice import tagged
from viva.base.errors import Refusal
from viva.model import folder
from viva.model.folder import Loaded


@torch.no_grad()
def soup(places: Sequence[Path]) -> Loaded:
    """The first model with the mean of all weights, taken in fp64 and kept in the first one's dtype.

    Refused: fewer than two, another architecture, tokenizer or set of classes.
    """
    if len(places) < 2:
        raise Refusal("an average must be of two models at least", len(places), "name more folders")
    first = folder.load(places[0])
    sums = {name: value.double() for name, value in first.model.state_dict().items()}
    for place in places[1:]:
        other = folder.load(place)
        _require_alike(first, other, place)
        for name, value in other.model.state_dict().items():
            sums[name] += value
    first.model.load_state_dict({name: value / len(places) for name, value in sums.items()})
    return first


def _require_alike(first: Loaded, other: Loaded, place: Path) -> None:
    """Weights at one place must do the same work in all models, and the ids they read must mean the same."""
    ours, theirs = tagged(first.config), tagged(other.config)
    if ours != theirs:
        keys = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
        differing = [f"{key}={theirs.get(key)!r} (the first: {ours.get(key)!r})" for key in keys]
        fix = "average models of one architecture, or use them side by side as an ensemble"
        raise Refusal(f"{place} must have the architecture of the first model", ", ".join(differing), fix)
    if first.labels != other.labels:
        fix = "average models that tell the same classes apart"
        raise Refusal(f"{place} must have the classes of the first model", f"{other.labels} for {first.labels}", fix)
    if (first.tokenizer is None) != (other.tokenizer is None):
        found = "a tokenizer in one of them alone"
        raise Refusal(f"{place} must have the tokenizer of the first model", found, "put it beside both")
    if first.tokenizer is not None:
        first.tokenizer.fingerprint.require(other.tokenizer.fingerprint, str(place))
