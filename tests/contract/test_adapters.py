"""What holds of every adapter: it begins as its base, it alone learns, and it can be taken away."""

import pytest
import torch

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.model import adapt
from viva.model.adapt import bottleneck, ia3, lora
from viva.model.arch import bert, gpt2, llama, qwen2, qwen2_moe, t5
from viva.model.block import Block
from viva.model.init import initialise

KINDS = names("viva.model.adapt")
FAMILIES = {"llama": llama, "gpt2": gpt2, "bert": bert, "t5": t5, "qwen2_moe": qwen2_moe}


AHEAD = ("prompt", "p_tuning", "prefix")  # which stand before a text, and are read from the first
PAIRS = [(k, f) for f in FAMILIES for k in KINDS if not (k in AHEAD and f == "qwen2_moe")]


def tiny(family=llama, seed=0):
    return initialise(family.TINY.spec().build(), seed).eval()


def read(model):
    """The model's states of some ids."""
    ids = torch.arange(2 * 7).reshape(2, 7) % model.spec.vocab
    memory = {"memory": model.encode(ids.flip(1))} if model.encoder is not None and model.decoder is not None else {}
    return model.hidden(ids, **memory)


def adapter(kind, family="llama"):
    """The usual one, which of experts takes all."""
    experts = {"read": (r".*\.down",)} if (kind, family) == ("ia3", "qwen2_moe") else {}
    return variant("viva.model.adapt", kind).Config(**experts)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in AHEAD])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_begins_as_its_base(kind, family):
    model = tiny(FAMILIES[family])
    before = read(model)
    adapt.attach(model, adapter(kind, family))
    torch.testing.assert_close(read(model), before, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind, family", PAIRS)
def test_every_trained_number_moves_and_no_frozen_one(kind, family):
    model = tiny(FAMILIES[family])
    adapt.attach(model, adapter(kind, family))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    aim = torch.randn(read(model).shape, generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # what is multiplied by zeros at first moves in the second
        optimizer.zero_grad()
        (read(model) - aim).square().sum().backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        moved = parameter.detach() != before[name]
        assert moved.any() if ".adapter." in f".{name}" else not moved.any(), name
        assert parameter.requires_grad == (".adapter." in f".{name}"), name


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_adapter_a_model_is_its_base(kind):
    model = tiny()
    before = read(model)
    adapt.attach(model, adapter(kind))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5)
    assert (read(model) - before).abs().max() > 1e-2
    with adapt.without(model) as base:
        assert torch.equal(read(base), before)
    assert (read(model) - before).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_and_learns_in_half_precision(kind, dtype):
    """By autocast, as training does, and on a base of halves, as a GPU loads it: what fp32 gives, to rounding."""
    model, half = tiny(gpt2), tiny(gpt2).to(dtype)
    adapt.attach(model, adapter(kind))
    adapt.attach(half, adapter(kind))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for own, other in zip(model.parameters(), half.parameters(), strict=True):
            own.add_(0.05 * own.requires_grad * torch.randn(own.shape, generator=generator))
            other.copy_(own)
    expected = read(model)
    with torch.autocast("cpu", dtype):
        found = read(model)
    found.float().square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters() if p.requires_grad)
    for states in (found, read(half)):
        torch.testing.assert_close(states.float(), expected, atol=10 * torch.finfo(dtype).eps, rtol=0)


@pytest.mark.parametrize("target", ["attention.q", "attention.k", "attention.v"])
def test_a_direction_beside_a_bias_keeps_the_dtype_of_what_it_changes(target):
    """One of q, k and v alone, whose biases are in fp32 where autocast makes half precision: they are read together."""
    model = tiny(qwen2).train()
    adapt.attach(model, lora.Config(targets=(target,), directed=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.1 * (name.endswith("bias") or parameter.requires_grad))
    expected = read(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = read(model)
    found.float().square().sum().backward()
    torch.testing.assert_close(found.float(), expected, atol=0.08, rtol=0)


def test_a_bottleneck_is_its_equation():
    """y + W_up gelu(W_down y + b) + c, behind the feed-forward network and, of Houlsby's, behind attention."""
    model = tiny(gpt2)
    adapt.attach(model, bottleneck.Config(hidden=3))
    block, generator = model.decoder.layers[0], torch.Generator().manual_seed(0)
    for place in (block.ffn, block.attention.out):
        change = place.adapter
        with torch.no_grad():
            for parameter in change.parameters():
                parameter.normal_(generator=generator)
        x = torch.randn(4, place.in_features if place is block.attention.out else 32, generator=generator)
        with adapt.without(model):
            y = place(x)
        inner = torch.nn.functional.gelu(y @ change.down.weight.T + change.down.bias)
        torch.testing.assert_close(place(x), y + inner @ change.up.weight.T + change.up.bias)


def test_pfeiffers_bottlenecks_stand_behind_the_ffn_alone():
    model = tiny(t5)
    adapt.attach(model, bottleneck.Config(behind="ffn"))
    places = {name for name, module in model.named_modules() if isinstance(module, adapt.Change)}
    blocks = {name for name, module in model.named_modules() if isinstance(module, Block)}
    assert places == {f"{block}.ffn.adapter" for block in blocks}


def test_a_map_whose_input_is_multiplied_must_not_share_it():
    with pytest.raises(Refusal, match=r"must not share it, but found q, k, v in decoder.layers.0.attention.qkv"):
        adapt.attach(tiny(), ia3.Config(read=("attention.q",)))


@pytest.mark.parametrize("kind", KINDS)
def test_two_adapters_share_one_base(kind):
    base = tiny()
    first, second = adapt.twin(base), adapt.twin(base)
    adapt.attach(first, adapter(kind))
    assert not adapt.adapted(base) and not adapt.adapted(second)
    assert first.embedding.weight.data_ptr() == second.embedding.weight.data_ptr() == base.embedding.weight.data_ptr()


def test_a_target_is_a_piece_of_a_joined_map():
    model = tiny()
    adapt.attach(model, lora.Config(targets=("attention.q", "decoder.layers.1.ffn.(gate|down)")))
    places = {name.rpartition(".")[0] for name, _ in model.named_parameters() if ".adapter." in name}
    assert places == {
        "decoder.layers.0.attention.qkv.adapter.parts.q",
        "decoder.layers.1.attention.qkv.adapter.parts.q",
        "decoder.layers.1.ffn.gate_up.adapter.parts.gate",
        "decoder.layers.1.ffn.down.adapter.parts.down",
    }


def test_a_target_that_matches_nothing_is_refused_with_what_there_is():
    expected = (
        "a target must match a linear map of the model, but found attention.query, .*experts.*. To fix it, choose of "
        "attention.q, attention.k, attention.v, attention.out, ffn.gate, ffn.up, ffn.down."
    )
    with pytest.raises(Refusal) as refused:
        adapt.attach(tiny(), lora.Config(targets=("attention.q", "attention.query", ".*experts.*")))
    assert str(refused.value) == expected


def test_a_second_adapter_is_refused():
    model = tiny()
    adapt.attach(model, lora.Config())
    with pytest.raises(Refusal, match="a model must have one adapter, but found one that has an adapter"):
        adapt.attach(model, lora.Config())


@pytest.mark.parametrize(
    "fields, message", [({"targets": ("attention.(q",)}, "unterminated"), ({"rank": 0}, "greater")]
)
def test_fields_are_bounded(fields, message):
    with pytest.raises(ValueError, match=message):
        lora.Config(**fields)
