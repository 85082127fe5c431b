"""What a user gives a model to read, as a tensor on its device."""

import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer.use import use
from viva.model.whole import Whole


def given(model: Whole, what: Tensor | list) -> Tensor:
    """ids [B, T] or, of a model that reads them, images [B, C, h, w]; refused where they are neither."""
    weight = model.embedding.weight
    if _has_text(what):
        must, found, fix = _form(model, f"text, {what!r:.60}")
        encode = f"encode it with the model's tokenizer, or use {use(model)}"
        raise Refusal(must, found, fix if model.spec.vocab is None else encode)
    try:
        found = torch.as_tensor(what)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Refusal(*_form(model, str(error).splitlines()[0])) from None
    images, real = model.spec.vocab is None, found.is_floating_point()
    if found.ndim != (4 if images else 2) or not found.numel() or real != images or found.is_complex():
        raise Refusal(*_form(model, f"{str(found.dtype).removeprefix('torch.')} of the shape {list(found.shape)}"))
    if images:
        return found.to(weight)
    found = found.to(weight.device, torch.long)
    if not 0 <= int(found.min()) <= int(found.max()) < model.spec.vocab:
        extremes, fix = f"{int(found.min())} to {int(found.max())}", "use the tokenizer that belongs to the model"
        raise Refusal(f"ids must be in [0, {model.spec.vocab})", extremes, fix)
    return found


def _has_text(what: object) -> bool:
    return isinstance(what, str) or (isinstance(what, list | tuple) and any(map(_has_text, what)))


def _form(model: Whole, found: str) -> tuple[str, str, str]:
    """The refusal of what has another form."""
    if model.spec.vocab is None:
        return "images must be real numbers [B, C, h, w]", found, "stack and scale the images"
    fix = "give a list of rows of one length, such as [[1, 2, 3]], none of them empty"
    return "ids must be whole numbers [B, T]", found, fix
