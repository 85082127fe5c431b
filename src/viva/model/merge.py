"""An adapter taken into the weights that it changes: one model that computes the same."""

import torch
from torch import Tensor, nn

from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model import adapt
from viva.model.adapt import _pieces
from viva.model.init import hollow
from viva.model.linear.joined import assemble, pieces
from viva.model.whole import Whole

# of the largest score, by the format of the weights: sums in another order, and W + dW rounded once more
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
LENGTH = 64  # tokens of the text of random ids by which they are compared


@torch.no_grad()
def merged(config: Config, model: Whole) -> Whole:
    """A model of `config` that computes without an adapter what `model` does with its own.

    Refused: an adapter that no linear map computes, such as a bottleneck; and where what the two heads give differs by
    more than the rounding of the weights explains.
    """
    found = {name: tensor for name, tensor in pieces(model).items() if ".adapter." not in f".{name}"}
    for name, part in _parts(model).items():
        changed = part.merged(found[f"{name}.weight"], found.get(f"{name}.bias"))
        for leaf, tensor in zip(("weight", "bias"), changed, strict=True):
            if tensor is not None:
                found[f"{name}.{leaf}"] = tensor.to(found[f"{name}.{leaf}"].dtype)
    with hollow():
        plain = config.spec().build()
    assemble(plain, {name: tensor.detach().clone() for name, tensor in found.items()})
    _require_alike(model, plain.eval())
    return plain


def _parts(model: Whole) -> dict[str, nn.Module]:
    """What changes each piece."""
    if any(not isinstance(change, _pieces.Parted) for change in adapt.changes(model)):
        must = "an adapter must be a change of linear maps to be merged into them"
        raise Refusal(must, "networks or vectors of its own", "keep it beside its base")
    return _pieces.held(model)


def _require_alike(model: Whole, plain: Whole) -> None:
    """Refuse where the scores of the two differ by more than rounding."""
    expected, found = _scores(model).double(), _scores(plain).double()
    weight = plain.embedding.weight
    off, most = (expected - found).abs().max() / expected.abs().max(), TOLERANCE[weight.dtype]
    if not off <= most:  # nor where it is no number
        format = str(weight.dtype).removeprefix("torch.")
        must = f"a merged model must give the scores of model and adapter to {most:g} of the largest in {format}"
        raise Refusal(must, f"{off.item():.2g}", "load the base with dtype float32, or keep the adapter beside it")


def _scores(model: Whole) -> Tensor:
    length = min(LENGTH, model.spec.context)
    ids = torch.randint(model.spec.vocab, (1, length), generator=torch.Generator().manual_seed(0))
    ids = ids.to(model.embedding.weight.device)
    memory = model.encode(ids) if model.encoder is not None and model.decoder is not None else None
    return model(ids, memory=memory)
