"""Another model that an objective compares with, and that never learns: the one the run began from, or a folder's; an
adapter's is read with its base.
"""

import torch

from viva.base.errors import Refusal
from viva.model import adapter, folder
from viva.model.size import held
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer
from viva.train import checkpoint
from viva.train.objective import Ground
from viva.train.start import owned

START = "start"  # the name of the model that the run began from


class Frozen:
    """The model that `name` means, a folder, a run, an id of the hub or START; read when it is first used.

    Refused at once: a tokenizer with other ids than the learner's, START where the run began from nothing.
    """

    def __init__(self, name: str, ground: Ground, what: str, rows: bool = True, stays: bool = True):
        """`what` it is to the objective, in sentences; with `rows` its table must have as many as the learner's, those
        that no token has among them. `stays`: it is in memory as long as the run lasts.
        """
        self.device = next(ground.model.parameters()).device
        self.path = checkpoint.located(_place(name, ground, what))
        base = adapter.base_in(self.path, checkpoint.located)
        theirs = folder.own_tokenizer(self.path, None) or Tokenizer.load(base)
        vocabulary = folder.architecture(base).vocab
        adapter.require_ids(theirs, ground.tokenizer, f"{what} {self.path}")
        if rows and vocabulary != ground.model.spec.vocab:
            must = f"{what} {self.path} must have a vocabulary of {ground.model.spec.vocab}, as the model that learns"
            raise Refusal(must, vocabulary, "use a model of the same vocabulary")
        self._model: Transformer | None = None
        if stays:
            ground.beside.append(lambda: held(self.model))

    @property
    def model(self) -> Transformer:
        """In fp32, in evaluation, with weights that ask for no gradient."""
        if self._model is None:
            found = owned(adapter.whole(self.path, checkpoint.located, torch.float32).model)
            self._model = found.to(self.device).requires_grad_(False).eval()
        return self._model

    def release(self) -> None:
        """Give its memory back; it is read again when it is next used."""
        self._model = None


def _place(name: str, ground: Ground, what: str) -> str:
    if name != START:
        return name
    if ground.parent is None:
        fix = "set init to a tuned model, or name a folder for it in the objective"
        raise Refusal(f"{what} must be a model that was trained before", "a run that begins from nothing", fix)
    return ground.parent
