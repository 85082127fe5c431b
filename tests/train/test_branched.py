"""Replies that share a prompt, read as one tree, beside each read alone."""

from dataclasses import replace

import pytest
import torch

from viva.align.reply import Prompt, Reply
from viva.model.arch import bert, gpt2, llama, mistral, t5, transfo_xl
from viva.model.init import initialise
from viva.train.branched import LONGEST, branched, can_branch, together
from viva.train.loss import IGNORE
from viva.train.objective._answers import Spoken
from viva.train.precision import Precision
from viva.train.replies import laid, logs_of, states

SMALL = {"vocab": 30, "width": 16, "layers": 2, "heads": 2, "context": 48}
MODELS = {"llama": llama.Config(**SMALL, kv_heads=1), "gpt2": gpt2.Config(**SMALL)}


def model(name):
    return initialise(MODELS[name].spec().build(), 0).double()


def asked(*sizes, prompt=9, number=0):
    """Replies of these many tokens to one prompt, of random ids."""
    draw = torch.Generator().manual_seed(number)
    ids = lambda n: torch.randint(1, 30, (n,), generator=draw).tolist()  # noqa: E731
    to = Prompt(ids(prompt), "", "", number)
    return [Reply(to, ids(n), [0.0] * n, "", True) for n in sizes]


SAID = [*asked(3, 1, 4), *asked(2, 7, prompt=30, number=1), *asked(5, number=2), *asked(1, 1, prompt=1, number=3)]


@pytest.mark.parametrize("name", MODELS)
def test_a_tree_is_read_as_each_reply_alone(name):
    """Log-probabilities, and the gradient of their weighted sum, beside one pass a reply."""
    policy, weights = model(name), [torch.rand(len(reply.ids), dtype=torch.float64) for reply in SAID]
    alone = []
    for reply in SAID:
        row = torch.tensor([[*reply.prompt.ids, *reply.ids]])
        spread = policy(row[:, :-1])[0, len(reply.prompt.ids) - 1 :].log_softmax(-1)
        alone.append(spread.gather(1, torch.tensor(reply.ids)[:, None])[:, 0])
    batch = laid(SAID, 0, branch=True)
    assert batch.spoken == tuple(map(len, alone)) and batch.tokens < laid(SAID, 0).tokens
    spoken = Spoken.of(batch)
    spread = (states(policy, batch) @ policy.head_weight.T).log_softmax(-1)
    tree = spread.gather(1, spoken.targets[:, None])[:, 0]
    torch.testing.assert_close(tree, torch.cat(alone))
    parameters = [*policy.parameters()]
    mine, theirs = (torch.autograd.grad((found * torch.cat(weights)).sum(), parameters) for found in (tree, torch.cat(alone)))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)
    assert max(each.abs().max() for each in mine) > 1e-2
    for found, expected in zip(logs_of(policy, SAID, 1.0, 4, 0, Precision("fp32", "cpu")), alone, strict=True):
        torch.testing.assert_close(found, expected.detach())
