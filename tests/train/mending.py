"""A tokenizer with every special token an objective may want, and data, models and runs for one objective each."""

from functools import cache

import numpy as np
import torch

from viva.model.arch import bart, bert, electra, llama
from viva.model.init import initialise
from viva.model.transformer import Transformer
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.data import Batching, Data
from viva.train.objective import denoise, detect, infill, masked, permute, prefix, spans

from .fakes import Memory

CONTEXT, LETTERS = 24, "abcdefghijklmnop"
SIZES = {"width": 32, "layers": 2, "heads": 4, "hidden": 64, "context": CONTEXT}
FAMILIES = {
    masked: bert,
    permute: bert,
    detect: electra,
    spans: bart,
    denoise: bart,
    infill: llama,
    prefix: llama,
}


@cache
def tokenizer() -> Tokenizer:
    config = byte_bpe.Config(vocab_size=320, mask=True, sentinels=8, gap=True)
    return byte_bpe.train(["the cat sees the dog. the dog sees a bird! who sees the bird?\n"] * 9, config)


def model(objective, seed=0):
    family = FAMILIES[objective]
    return initialise(Transformer(family.Config(vocab=tokenizer().vocab_size, **SIZES).spec()), seed)


def letters(count=48, seed=0):
    """Documents of one letter each, 4 to 20 times: whoever sees one of them knows the others."""
    random = np.random.default_rng(seed)
    [*ids] = (tokenizer().encode(letter)[0] for letter in LETTERS)
    end = tokenizer().eos_id
    return [[end, *[ids[random.integers(len(ids))]] * random.integers(4, 21), end] for _ in range(count)]


def sentences(count=24, seed=0):
    """Documents of a few sentences."""
    random = np.random.default_rng(seed)
    words = ["the", "cat", "dog", "bird", "sees", "hears", "a", "never"]
    end, made = tokenizer().eos_id, []
    for _ in range(count):
        parts = [" ".join(random.choice(words, random.integers(2, 9))) + "." for _ in range(random.integers(1, 6))]
        made.append([end, *tokenizer().encode(" ".join(parts)), end])
    return made


def data(objective, documents, seed=0, fields=None, **batching):
    reading = objective.Config(**(fields or {})).reading(tokenizer())
    return Data(Memory(documents), Batching(**{"batch": 8, "context": CONTEXT, **batching}), reading, seed)


def learn(objective, steps=120, lr=3e-3, fields=None):
    """Train on `letters`; returns the model, its weights before, and the mean loss of the last ten steps."""
    torch.manual_seed(0)
    found, source = model(objective).train(), data(objective, letters(), fields=fields)
    before = {name: parameter.detach().clone() for name, parameter in found.named_parameters()}
    loss = objective.Config(**(fields or {})).build(source.documents)
    optimizer, losses = torch.optim.AdamW(found.parameters(), lr), []
    for step in range(steps):
        [batch] = source.micro_batches(step)
        result = loss(found, batch)
        (result.sum / result.count).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(result.sum.item() / result.count)
    return found, before, float(np.mean(losses[-10:]))
