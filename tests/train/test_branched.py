"""Replies that share a prompt, read as one tree, beside each read alone."""

import pytest
import torch

from viva.align.reply import Prompt, Reply
from viva.model.arch import gpt2, llama, mistral, t5
from viva.model.init import initialise
from viva.train.branched import LONGEST, can_branch, together
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
    mine, theirs = (
        torch.autograd.grad((found * torch.cat(weights)).sum(), parameters) for found in (tree, torch.cat(alone))
    )
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)
    assert max(each.abs().max() for each in mine) > 1e-2
    for found, expected in zip(logs_of(policy, SAID, 1.0, 4, 0, Precision("fp32", "cpu")), alone, strict=True):
        torch.testing.assert_close(found, expected.detach())


def test_the_prompt_is_read_once():
    """A prompt without its last token, and of each reply as many as it has; replies longer than it are apart."""
    batch = laid(SAID, 0, branch=True)
    assert batch.lengths == ((8 + 8, 29 + 9, 8 + 5, 1, 1),)
    longer = [reply for number in range(5) for reply in asked(3, 3, prompt=30, number=number)]
    assert laid(longer, 0, branch=True).lengths == ((35, 35, 35), (35, 35))


def test_replies_longer_than_their_prompt_go_apart():
    sizes = [[len(reply.ids) for reply in group] for group in together(asked(4, 5, 1, 9, 2))]
    assert sizes == [[4, 5], [1], [9], [2]]
    long = together(asked(100, 100, 100, prompt=LONGEST - 200))
    assert [len(group) for group in long] == [2, 1]


def test_a_reply_beside_none_to_its_prompt_is_a_document():
    alone = [*asked(3), *asked(2, number=1)]
    batch = laid(alone, 0, branch=True)
    assert batch.mask is None and batch.lengths == ((11, 10),)


@pytest.mark.parametrize(
    ("family", "can"),
    [
        (llama.Config(**SMALL), True),
        (mistral.Config(**SMALL, window=LONGEST), True),
        (mistral.Config(**SMALL, window=8), False),
        (t5.Config(vocab=30, width=16, layers=1, heads=2, hidden=16, context=48), False),
    ],
)
def test_a_model_that_tells_tokens_by_their_slots_reads_each_reply_alone(family, can):
    assert can_branch(family.spec().build()) is can
