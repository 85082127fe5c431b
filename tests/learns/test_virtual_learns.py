"""What virtual tokens are for: a frozen model that has learned several tasks, each announced by a word, is told by
them which one is meant.

The tasks are x -> x + m modulo 16 for m = 1, 2, 3; a text is the word for m, x and the answer. Without the word the
best that can be done is to guess one of three, ln 3 = 1.10 nats.
"""

import pytest
import torch
from torch.nn.functional import cross_entropy

from viva.model import adapt
from viva.model.adapt import p_tuning, prefix, prompt
from viva.model.arch import llama
from viva.model.init import initialise

SIZE, TASKS, MEANT = 16, 3, 2
KINDS = {
    "prompt": prompt.Config(length=2),
    "lstm": p_tuning.Config(length=2),
    "mlp": p_tuning.Config(length=2, encoder="mlp"),
    "prefix": prefix.Config(length=2),
    "mapped": prefix.Config(length=2, hidden=16),
}


def texts(task, random):
    """(word, x) [64, 2] and answers [64]."""
    x = torch.randint(SIZE, (64,), generator=random)
    return torch.stack((SIZE + task, x), 1), (x + 1 + task) % SIZE


def learn(model, parameters, batch, steps, lr):
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0)
    for _ in range(steps):
        ids, answers = batch()
        optimizer.zero_grad()
        cross_entropy(model(ids)[:, -1], answers).backward()
        optimizer.step()


@pytest.fixture(scope="module")
def base():
    sizes = {"vocab": SIZE + TASKS, "width": 32, "layers": 2, "heads": 2, "kv_heads": 1, "hidden": 64, "context": 16}
    model = initialise(llama.Config(**sizes).spec().build(), 0)
    random = torch.Generator().manual_seed(0)
    learn(model, model.parameters(), lambda: texts(torch.randint(TASKS, (64,), generator=random), random), 250, 5e-3)
    return model


@torch.no_grad()
def loss(model, told):
    """Of the meant task, with its word or without."""
    ids, answers = texts(torch.full((64,), MEANT), torch.Generator().manual_seed(9))
    return cross_entropy(model(ids if told else ids[:, 1:])[:, -1], answers).item()


@pytest.mark.parametrize("kind", KINDS)
def test_virtual_tokens_say_which_task_is_meant(base, kind):
    assert loss(base, told=True) < 0.02 and loss(base, told=False) > 1.0
    model, random = adapt.twin(base), torch.Generator().manual_seed(1)

    def untold():
        ids, answers = texts(torch.full((64,), MEANT), random)
        return ids[:, 1:], answers

    adapt.attach(model, KINDS[kind])
    learn(model, model.adapter.parameters(), untold, 60, 5e-2 if kind in ("prompt", "prefix") else 1e-2)
    assert loss(model, told=False) < 0.05
    with adapt.without(model):
        assert loss(model, told=False) == loss(base, told=False)
