"""What `import viva` offers beside `viva.train`: load a model and talk to it, load a tokenizer."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from viva.base import machine
from viva.base.config import Config, parse
from viva.base.errors import Notice, Refusal, nearest
from viva.infer import generate
from viva.infer.sampling import Sampling
from viva.model import folder
from viva.model.spec import Spec
from viva.model.transformer import Transformer
from viva.text import chat
from viva.text.tokenizer import Tokenizer

HALVES = ("bfloat16", "float16")
DTYPES = ("float32", *HALVES)

Prompt = str | list[dict]  # a text to go on with, or the messages of a conversation to reply to


@dataclass(frozen=True)
class LanguageModel:
    """A model with the tokenizer it was trained with. `source`: the folder, or the hub id, that it was read from."""

    config: Config
    model: Transformer
    own_tokenizer: Tokenizer | None
    source: str

    @property
    def spec(self) -> Spec:
        """The architecture as data."""
        return self.model.spec

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the folder; refused where it has none."""
        if self.own_tokenizer is None:
            fix = "copy the tokenizer.json it was trained with into the folder"
            raise Refusal("a model must have its tokenizer to read and write text", f"none in {self.source}", fix)
        return self.own_tokenizer

    def __call__(self, ids: Tensor | list[list[int]]) -> Tensor:
        """The logits [B, T, V] of ids [B, T]; what an image model makes of images [B, C, h, w]."""
        given = torch.as_tensor(ids, device=self.model.embedding.weight.device)
        if (
            self.spec.vocab is not None
            and given.numel()
            and not 0 <= int(given.min()) <= int(given.max()) < self.spec.vocab
        ):
            found, fix = f"{int(given.min())} to {int(given.max())}", "use the tokenizer that belongs to the model"
            raise Refusal(f"ids must be in [0, {self.spec.vocab})", found, fix)
        return self.model(given)

    def ids(self, prompt: Prompt) -> list[int]:
        """What the model reads: a text behind the begin token, as in training, or messages with a reply opened."""
        if not isinstance(prompt, str):
            return chat.render(self.tokenizer, prompt, reply=True).ids
        begin = self.tokenizer.bos_id
        return ([] if begin is None else [begin]) + self.tokenizer.encode(prompt)

    def stream(self, prompt: Prompt, **sampling: Any) -> Iterator[str]:
        """The reply as it comes, in pieces of whole characters; `sampling` are the fields of `infer.sampling`."""
        chosen = parse(Sampling, sampling, name="sampling")
        for piece in generate.stream(self.model, self.tokenizer, self.ids(prompt), chosen):
            if piece.text:
                yield piece.text

    def generate(self, prompt: Prompt, **sampling: Any) -> str:
        """The text that follows `prompt`."""
        return "".join(self.stream(prompt, **sampling))

    def chat(self, messages: list[dict], **sampling: Any) -> str:
        """The assistant's reply to a conversation such as [{"role": "user", "content": "hi"}]."""
        return self.generate(messages, **sampling)

    def save(self, target: str | Path) -> None:
        """Write a folder that `viva.load` and, for published families, transformers open.

        A checkpoint that viva wrote there is replaced; anything else there is refused.
        """
        folder.require_room(target)
        folder.save(target, self.config, self.model, self.own_tokenizer, {"parent": self.source})


def load(name: str | Path, dtype: str | torch.dtype | None = None) -> LanguageModel:
    """The model in a folder of ours, in any Hugging Face folder of a known family, in a run, or on the hub.

    Of a run the best checkpoint is taken, or the newest. `dtype` None keeps the file's, except that half precision is
    widened to fp32 on a CPU that is measured to decode faster so.
    """
    path = located(name)
    loaded = folder.load(path, _dtype(dtype))
    source = str(path.resolve()) if Path(name).exists() else str(name)
    device = machine.device()
    if dtype is None and device == "cpu":
        _widen(loaded.model, device)
    return LanguageModel(loaded.config, loaded.model.to(device), loaded.tokenizer, source)


def located(name: str | Path) -> Path:
    """The checkpoint folder that `name` means: that folder, a run's best, or a model fetched from the hub."""
    path = folder.located(name)
    if (path / "config.json").is_file():
        return path  # without loading what only training needs
    from viva.train import checkpoint

    return checkpoint.located(path)


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a folder, in a tokenizer.json, of a run, or of a model on the hub."""
    holds_one = Path(path).is_file() or (Path(path) / "tokenizer.json").is_file()
    return Tokenizer.load(path if holds_one else located(path))


def _dtype(name: str | torch.dtype | None) -> torch.dtype | None:
    if name is None or isinstance(name, torch.dtype):
        return name
    if name not in DTYPES:
        raise Refusal("dtype must be known", repr(name), nearest(name, list(DTYPES)))
    return getattr(torch, name)


def _widen(model: Transformer, device: str) -> None:
    """Turn a half-precision model to fp32 where that decodes faster, and say so."""
    stored = str(model.embedding.weight.dtype).removeprefix("torch.")
    if stored not in HALVES:
        return
    chosen, why = machine.decodes_faster(device, (stored, "float32"))
    if chosen != stored:
        model.to(getattr(torch, chosen))
        warnings.warn(Notice(f"the weights are widened from {stored} to {chosen}: {why}"), stacklevel=3)
