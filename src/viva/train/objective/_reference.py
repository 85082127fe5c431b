"""What the reference, the model that a preference is compared with, gives the answers of a batch."""

import hashlib
import struct
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from viva.base.files import disk_space
from viva.base.progress import Progress
from viva.model import adapt
from viva.train.batch import Batch
from viva.train.data import Data
from viva.train.objective import Ground
from viva.train.objective._answers import Spoken, told
from viva.train.objective._frozen import START, Frozen
from viva.train.precision import Precision

FILE = "reference.bin"  # in the folder of a run: what the reference gave each answer
KEPT = struct.Struct("<16sd")  # a hash of an answer with its prompt, and its log-probability in nats


def reference(name: str, ground: Ground, stays: bool = True) -> "Reference":
    """The one that `name` means (`Frozen`); the start of a model that learns by an adapter is the model without it."""
    by_adapter = name == START and adapt.adapted(ground.model)
    return WithoutAdapter(ground.model) if by_adapter else Reference(Frozen(name, ground, "the reference", stays=stays))


class Reference:
    """A frozen model's log-probabilities of a batch's answers, [documents]."""

    def __init__(self, frozen: Frozen):
        self.frozen = frozen

    def __call__(self, batch: Batch, spoken: Spoken) -> Tensor:
        return told(self.frozen.model, batch, spoken)

    def release(self) -> None:
        """Give its memory back."""
        self.frozen.release()


class WithoutAdapter(Reference):
    """Those of the model that learns, without its adapter: no second copy of it."""

    def __init__(self, model: nn.Module):
        self.model = model

    def __call__(self, batch: Batch, spoken: Spoken) -> Tensor:
        was = self.model.training
        try:
            with adapt.without(self.model):
                return told(self.model.eval(), batch, spoken)
        finally:
            self.model.train(was)

    def release(self) -> None:
        """It is needed on."""


class Remembered:
    """The same, each answer once. `prepare` goes through the data before the first step and keeps what it finds in the
    run's folder: the reference need not stay in memory, and a resumed run goes on with the same numbers.
    """

    def __init__(self, reference: Reference):
        self.reference = reference
        self.known: dict[bytes, float] = {}

    def __call__(self, batch: Batch, spoken: Spoken) -> Tensor:
        answers = _hashes(batch, spoken)
        self._find(batch, spoken, answers)
        return torch.tensor([self.known[answer] for answer in answers], device=batch.ids.device)

    def prepare(self, run: Path, data: Iterable[Data], precision: Precision) -> None:
        """Read what the run's folder keeps; find and keep the rest."""
        file = run / FILE
        with disk_space(file), open(file, "a+b") as kept, Progress("the reference reads the answers") as progress:
            self._read(kept)
            for batch in (batch.to(precision.device) for each in data for batch in each.once()):
                spoken = Spoken.of(batch)
                with precision.autocast():
                    new = self._find(batch, spoken, _hashes(batch, spoken))
                kept.write(b"".join(KEPT.pack(answer, self.known[answer]) for answer in new))
                progress.say(f"{len(self.known):,} so far")
        self.reference.release()

    def _read(self, kept) -> None:
        """Take what an open file holds; a record that a kill cut short goes."""
        kept.seek(0)
        held = kept.read()
        whole = len(held) - len(held) % KEPT.size
        kept.truncate(whole)
        self.known |= dict(KEPT.iter_unpack(held[:whole]))

    def _find(self, batch: Batch, spoken: Spoken, answers: list[bytes]) -> list[bytes]:
        """Ask the reference for a batch, if there are answers in it that it was not asked for yet: these."""
        new = [answer for answer in dict.fromkeys(answers) if answer not in self.known]
        if new:
            found = dict(zip(answers, self.reference(batch, spoken).tolist(), strict=True))
            self.known |= {answer: found[answer] for answer in new}
        return new


def _hashes(batch: Batch, spoken: Spoken) -> list[bytes]:
    """One for each document: of its tokens, and of those that are learned."""
    found = []
    for ids, targets, lengths in zip(batch.ids.cpu(), batch.targets.cpu(), batch.lengths, strict=True):
        whole = sum(lengths)
        for document in zip(ids[:whole].split(lengths), targets[:whole].split(lengths), strict=True):
            both = torch.stack(document).numpy().tobytes()
            found.append(hashlib.blake2b(both, digest_size=16).digest())
    return found
