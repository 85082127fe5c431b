"""Mixture of experts against a loop over tokens, and its balancing loss against the paper's and transformers'."""

import pytest
import torch
import transformers
from torch.nn.functional import silu

from viva.base.errors import Refusal
from viva.model import folder as checkpoint
from viva.model.arch import qwen2_moe
from viva.model.ffn import moe
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.transformer import Transformer
from viva.train.batch import Batch
from viva.train.flops import train_flops
from viva.train.objective import causal, with_auxiliary

E, F, S = 8, 12, 6
CASES = {
    "plain": moe.Config(hidden=F, experts=5, chosen=2),
    "normalised": moe.Config(hidden=F, experts=5, chosen=3, normalised=True),
    "shared": moe.Config(hidden=F, experts=5, chosen=2, shared=S),
    "one": moe.Config(hidden=F, experts=5, chosen=1),  # Switch
    "all": moe.Config(hidden=F, experts=5, chosen=5),
}


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def by_token(config: moe.Config, weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """x [N, E]: each token's experts one after another."""

    def network(name: str, token: torch.Tensor) -> torch.Tensor:
        gate, up, down = (weights[f"{name}.{part}.weight"] for part in ("gate", "up", "down"))
        return down @ (silu(gate @ token) * (up @ token))

    out = []
    for token in x:
        p = (weights["router.weight"] @ token).softmax(0)
        best = sorted(range(config.experts), key=lambda e: -p[e].item())[: config.chosen]
        total = sum(p[e] for e in best) if config.normalised else 1.0
        y = sum(p[e] / total * network(f"experts.{e}", token) for e in best)
        if config.shared:
            y = y + torch.sigmoid(weights["shared_gate.weight"] @ token) * network("shared", token)
        out.append(y)
    return torch.stack(out)


@pytest.mark.parametrize("name", CASES)
def test_equals_a_loop_over_tokens(name):
    config = CASES[name]
    module = config.build(E)
    x, weight = random(3, 7, E).requires_grad_(), random(3, 7, E)
    weights = {name: piece.detach().requires_grad_() for name, piece in pieces(module).items()}
    expected = by_token(config, weights, x.flatten(0, 1)).view(x.shape)
    mine = module(x)
    torch.testing.assert_close(mine, expected, atol=1e-6, rtol=1e-5)
    by_x = torch.autograd.grad((expected * weight).sum(), (x, *weights.values()), allow_unused=True)
    (mine * weight).sum().backward()
    found = pieces(module, lambda parameter: parameter.grad)
    torch.testing.assert_close(x.grad, by_x[0], atol=1e-6, rtol=1e-5)
    for key, gradient in zip(weights, by_x[1:], strict=True):
        torch.testing.assert_close(found[key], gradient, atol=1e-6, rtol=1e-5, msg=key)


def test_a_crowded_expert_drops_no_token():
    """All tokens go to the experts 1 and 3, and the gradient of the others is 0 rather than absent."""
    module = moe.Config(hidden=F, experts=4, chosen=2).build(E)
    with torch.no_grad():
        module.router.weight.copy_(torch.tensor([0.0, 2.0, 0.0, 1.0])[:, None].expand(4, E))
    x = random(50, E).abs()
    weights = pieces(module)
    mine = module(x)
    torch.testing.assert_close(mine, by_token(module.config, weights, x), atol=1e-6, rtol=1e-5)
    mine.sum().backward()
    assert (mine.abs().sum(-1) > 0).all()
    for number, expert in enumerate(module.experts):
        assert (expert.down.weight.grad.abs().sum() > 0) == (number in (1, 3))


def test_a_perfect_balance_costs_as_much_as_experts_are_chosen():
    """Switch, section 2.2: under uniform routing f_e = P_e = 1 / N, so that N sum(f P) = 1; with k experts a token it
    is k. With all tokens on one expert of four, f = (1, 0, 0, 0) and P near it, it is 4 P_0.
    """
    module = moe.Config(hidden=F, experts=4, chosen=1, balance=0.5).build(4).train()
    with torch.no_grad():
        module.router.weight.copy_(torch.eye(4))
    module(torch.eye(4)[None])
    assert moe.auxiliary(module)["balance"].item() == pytest.approx(0.5)
    assert moe.auxiliary(module) == {}  # forgotten
    module(torch.eye(4)[:1].expand(3, 4)[None])
    p = torch.eye(4)[0].softmax(0)[0].item()
    assert moe.auxiliary(module)["balance"].item() == pytest.approx(0.5 * 4 * p)
    module.eval()(torch.eye(4)[None])
    assert moe.auxiliary(module) == {}


@pytest.fixture
def pair(tmp_path):
    ours = initialise(Transformer(qwen2_moe.TINY.spec()), seed=1)
    checkpoint.save(tmp_path / "m", qwen2_moe.TINY, ours)
    twin = transformers.Qwen2MoeForCausalLM.from_pretrained(tmp_path / "m", attn_implementation="eager")
    return ours.train(), twin.train()


@pytest.mark.parametrize("lengths", [(24, 24), (24, 15)])
def test_the_balance_of_all_layers_is_the_twins(pair, lengths):
    """And its gradient by a router; the padding of a short row counts in neither."""
    ours, twin = pair
    ids = torch.randint(3, 64, (2, 24), generator=torch.Generator().manual_seed(3))
    mask = (torch.arange(24) < torch.tensor(lengths)[:, None]).long()
    expected = twin(ids, attention_mask=mask, output_router_logits=True).aux_loss
    layout = Layout.packed(tuple((n,) for n in lengths), 24)
    ours.hidden(ids, layout)
    found = moe.auxiliary(ours, layout)["balance"] / qwen2_moe.TINY.balance
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    expected.backward(), found.backward()
    for mine, theirs in zip(ours.decoder.layers, twin.model.layers, strict=True):
        torch.testing.assert_close(mine.ffn.router.weight.grad, theirs.mlp.gate.weight.grad, atol=1e-6, rtol=1e-4)


def test_the_objective_adds_it(pair):
    """Loss and gradients of an update are the twin's with output_router_logits."""
    ours, twin = pair
    ids = torch.randint(3, 64, (2, 24), generator=torch.Generator().manual_seed(3))
    theirs = twin(ids, labels=ids, output_router_logits=True)
    targets = torch.cat([ids[:, 1:], torch.full((2, 1), -100)], 1)
    batch = Batch(ids, targets, ((24,), (24,)))
    loss = with_auxiliary(causal.Config().build()(ours, batch), ours, batch)
    torch.testing.assert_close(loss.sum / loss.count, theirs.loss, atol=1e-5, rtol=1e-5)
    assert loss.metrics["balance"] / loss.count == pytest.approx(theirs.aux_loss.item() * 0.001, rel=1e-4)
    (loss.sum / loss.count).backward(), theirs.loss.backward()
    torch.testing.assert_close(
        ours.decoder.layers[0].ffn.router.weight.grad, twin.model.layers[0].mlp.gate.weight.grad, atol=1e-5, rtol=1e-3
    )
    unlearned = with_auxiliary(causal.Config().build()(ours.eval(), batch), ours, batch)
    torch.testing.assert_close(unlearned.sum / unlearned.count, theirs.loss - 0.001 * theirs.aux_loss)


def test_activations_computed_again_change_nothing(pair):
    """Gradients are the same, and a pass in evaluation adds nothing though the second forward pass came last."""
    model, _ = pair
    ids = torch.randint(3, 64, (2, 24), generator=torch.Generator().manual_seed(3))
    given, found = Batch(ids, ids, ((24,), (24,))), []
    for recompute in (False, True):
        model.decoder.recompute = recompute
        model.zero_grad()
        causal.Config().build()(model, given).sum.backward()
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert causal.Config().build()(model.eval(), given).metrics == {}


def test_only_the_chosen_experts_are_counted_as_work():
    """By hand, for a layer of TINY: attention 32 (32 + 16 + 16 + 32), router 32 6, two experts 3 32 16, the shared one
    3 32 24 and its gate 32; the head 64 32; 12 layers H D T / 2 for attention.
    """
    layer = 32 * 96 + 32 * 6 + 2 * 3 * 32 * 16 + 3 * 32 * 24 + 32
    model = Transformer(qwen2_moe.TINY.spec())
    assert train_flops(model, 64) == 6 * (2 * layer + 64 * 32) + 12 * 2 * 32 * 64 / 2


def test_more_chosen_than_there_are_is_refused():
    with pytest.raises(Refusal, match=r"as many experts as there are, at most, but found 3 of 2\. To fix it, choose"):
        moe.Config(hidden=F, experts=2, chosen=3)
