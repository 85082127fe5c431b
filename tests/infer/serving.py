"""Small random models, and requests given to an engine in a random mixture."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

import viva
from viva.base.choice import variant
from viva.infer.engine.asked import Asked
from viva.infer.engine.blocks import Blocks
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.model import adapt, adapter, folder
from viva.model.adapt import lora
from viva.model.arch import llama
from viva.model.init import initialise
from viva.model.spec import Spec
from viva.model.transformer import Transformer
from viva.text.tokens.learn import byte_bpe


def random_model(spec: Spec, noise: float = 0.3, seed: int = 1) -> Transformer:
    """Weights large enough that the most likely token depends on what was read."""
    model = initialise(Transformer(spec), seed=seed).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * noise)
    return model


def tiny(family: str, context: int = 256, **changed) -> Transformer:
    config = variant("viva.model.arch", family).TINY
    return random_model(config.model_copy(update={"context": context, **changed}).spec())


def roomy(model: Transformer, **more) -> Core:
    """An engine in which nothing is scarce."""
    return Core({"": model}, None, blocks=65, size=16, limits=Limits(rows=64, tokens=4096, chunk=4096), **more)


@dataclass
class Told:
    """All that was told of a reply."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    top: list[tuple] = field(default_factory=list)
    text: str = ""
    finish: str | None = None
    error: str | None = None
    full: str | None = None

    def take(self, delta) -> None:
        assert self.finish is None, "a delta behind the last"
        if delta.picked is not None:
            self.tokens.append(delta.picked.token)
            self.logprobs.append(delta.picked.logprob)
            self.top.append(delta.picked.top)
        self.text += delta.text
        self.finish, self.error, self.full = delta.finish, delta.error, delta.full


def ran(core: Core, asks: Sequence[tuple], at: Sequence[int] | None = None) -> list[Told]:
    """What was told of each of (prompt, Asked[, adapter]), those of n replies one after another; the i-th comes before
    step `at[i]`. Nothing is held at the end.
    """
    told: dict[int, Told] = {}
    order = sorted(range(len(asks)), key=lambda i: at[i] if at else 0)
    numbers: dict[int, list[int]] = {}
    step = 0
    while order or not core.idle:
        while order and (not at or at[order[0]] <= step):
            numbers[order[0]] = core.add(*asks[order[0]])
            told |= {number: Told() for number in numbers[order.pop(0)]}
        for delta in core.step():
            told[delta.number].take(delta)
        step += 1
    assert_empty(core.state.blocks)
    return [told[number] for i in range(len(asks)) for number in numbers[i]]


def assert_empty(blocks: Blocks) -> None:
    assert (blocks.used, blocks.available) == (0, blocks.count - 1)


def random_prompts(count: int, seed: int, vocab: int = 64, longest: int = 48) -> list[list[int]]:
    """Half of them begin as others do."""
    draw = random.Random(seed)
    begun = [[draw.randrange(vocab) for _ in range(draw.randint(4, longest - 8))] for _ in range(5)]
    prompts = []
    for _ in range(count):
        ahead = draw.choice(begun)[: draw.randint(1, longest - 8)] if draw.random() < 0.5 else []
        prompts.append(ahead + [draw.randrange(vocab) for _ in range(draw.randint(1, 8 if ahead else longest))])
    return prompts


def greedy(tokens: int, **more) -> Asked:
    return Asked(temperature=0, max_new_tokens=tokens, **more)


def raises_for(model, token: int):
    """A model that cannot read one token."""
    plain = model.hidden

    def hidden(ids, *rest, **more):
        if bool((ids == token).any()):
            raise ZeroDivisionError("a token that breaks the model")
        return plain(ids, *rest, **more)

    model.hidden = hidden
    return model


def saved(path: Path, context: int, **changed) -> Path:
    """The folder of a random LLaMA that reads bytes."""
    tokenizer = byte_bpe.train(["nothing to merge"], byte_bpe.Config(vocab_size=300))
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": context, **changed})
    folder.save(path, config, random_model(config.spec()), tokenizer=tokenizer)
    return path


def adapted(base: Path, path: Path, **told) -> Path:
    """The folder of an adapter that changes what the model in `base` says."""
    model, config = viva.load(base).model, lora.Config(rank=2, **told)
    adapt.attach(model, config)
    with torch.no_grad():
        for change in adapt.changes(model):
            for parameter in change.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(3))
    made = adapter.Adapter(config=config, base=str(base), fingerprint=adapter.fingerprint(base))
    adapter.save(path, made, model, notes={"parent": str(base)})
    return path
