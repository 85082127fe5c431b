"""Stacks: where dropout falls, layers that share weights, a factorised table, blocks that are computed again."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm

from viva.base.errors import Refusal
from viva.model.block import Block as BlockModule
from viva.model.cache import Contiguous
from viva.model.ffn import glu, mlp
from viva.model.flow import Flow, Memory
from viva.model.head import classify, masked, tag
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.norm import layernorm, rmsnorm
from viva.model.position import learned, shaw, t5, xl
from viva.model.score import additive
from viva.model.spec import Attention, Block, Entry, Spec, Stack
from viva.model.transformer import Transformer
from viva.train.flops import train_flops

E, T, V, HALF = 8, 8, 32, {"dropout": 0.5}


def shaken(module: nn.Module, scale: float = 0.5) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    return module


def attention(**fields) -> Attention:
    return Attention(**{"heads": 1, "kv_heads": 1, "head_dim": E, **fields})


def block(**fields) -> Block:
    own = {"attention": attention(), "ffn": mlp.Config(hidden=16), "norm": layernorm.Config()}
    return Block(**own | fields)


def both(entry: Entry = Entry(), stack: dict | None = None, **fields) -> Transformer:  # noqa: B008 - frozen
    """An encoder and a decoder of blocks with these fields."""
    cross = fields.pop("cross", attention(causal=False))
    left = Stack(layers=2, blocks=(block(cross=cross, **fields),), entry=entry, **stack or {})
    other = attention(**{**dict(fields.get("attention", attention())), "causal": False})
    right = Stack(layers=2, blocks=(block(**{**fields, "attention": other}),), entry=entry, **stack or {})
    return shaken(Transformer(Spec(vocab=V, width=E, context=64, encoder=right, decoder=left)))


def alone(layer: BlockModule, sublayer: str) -> BlockModule:
    """The block with what the other sublayers add made 0."""
    for name, last in (("attention", layer.attention.out), ("cross", layer.cross.out), ("ffn", layer.ffn.down)):
        if name != sublayer:
            for parameter in last.parameters():
                parameter.data.zero_()
    return layer


def added(sublayer: str) -> Callable[[Transformer], tuple[nn.Module, Callable]]:
    """What one sublayer adds to x."""

    def made(model: Transformer):
        layer = alone(model.decoder.layers[0], sublayer)
        memory = Memory(x(), Layout.one_document(T))
        flow = Flow(Layout.one_document(T), (None, None), memory=memory)
        return layer, lambda: layer(x(), flow, 0) - x()

    return made


def x() -> torch.Tensor:
    return torch.randn(64, T, E, generator=torch.Generator().manual_seed(2))


def entry(model: Transformer):
    ids = torch.randint(V, (64, T), generator=torch.Generator().manual_seed(3))
    return model.decoder.entry, lambda: model.decoder.entry(model.embedding(ids), Layout.one_document(T))


def last(model: Transformer):
    stack = model.encoder
    return stack, lambda: stack(x(), Layout.one_document(T))


def hidden(model: Transformer):
    """What the feed-forward network multiplies by its last matrix, here the identity."""
    ffn = model.decoder.layers[0].ffn
    ffn.down.weight.data, ffn.down.bias = torch.eye(16), None
    return ffn, lambda: ffn(x())


def sinusoids(model: Transformer):
    scheme = model.decoder.layers[0].attention.position
    return scheme, lambda: scheme.table(Layout.one_document(256))[0]


def weights(cross: bool) -> Callable[[Transformer], tuple[nn.Module, Callable]]:
    """With values that are the rows of the identity, what is read are the weights."""

    def made(model: Transformer):
        layer = model.decoder.layers[0].cross if cross else model.decoder.layers[0].attention
        (layer.kv if cross else layer.qkv).weight.data[-E:] = torch.eye(E)
        layer.out.weight.data = torch.eye(E)
        rows = torch.eye(T).expand(64, -1, -1)
        flow = Flow(Layout.one_document(T), (None, None), memory=Memory(rows, Layout.one_document(T)))
        return layer, lambda: layer.across(rows, flow, 0) if cross else layer(rows, flow, 0)

    return made


def head(model: Transformer):
    top = tag.Config(labels=E, bias=False, **HALF).build(model.spec)
    top.out.weight.data = torch.eye(E)
    return top, lambda: top(x(), None)


def pooled(model: Transformer):
    top = classify.Config(labels=E, bias=False, **HALF).build(model.spec)
    top.out.weight.data = torch.eye(E)
    return top, lambda: top(x(), None)


DROPPED = attention(**HALF)
PLACES = {
    "embeddings": ({"entry": Entry(position=learned.Config(), norm=layernorm.Config(), **HALF)}, entry),
    "sinusoids of distances": ({"attention": attention(position=xl.Config(**HALF))}, sinusoids),
    "attention weights": ({"attention": DROPPED}, weights(cross=False)),
    "written attention weights": ({"attention": attention(score=additive.Config(), **HALF)}, weights(cross=False)),
    "cross-attention weights": ({"cross": attention(causal=False, **HALF)}, weights(cross=True)),
    "what attention adds": (HALF, added("attention")),
    "what cross-attention adds": (HALF, added("cross")),
    "what the network adds": (HALF, added("ffn")),
    "inside the network": ({"ffn": mlp.Config(hidden=16, **HALF)}, hidden),
    "inside a gated network": ({"ffn": glu.Config(hidden=16, **HALF)}, hidden),
    "the last states": ({"stack": {"layers": 1, **HALF}}, last),
    "a tagger": ({}, head),
    "a classifier": ({}, pooled),
}


def model_with(fields: dict) -> Transformer:
    fields = dict(fields)
    stack = {key: value for key, value in fields.pop("stack", {}).items() if key != "layers"}
    return both(stack=stack, **fields)


@pytest.mark.parametrize("place", PLACES)
def test_dropout_falls_at_its_place(place):
    """Half of the numbers are 0 and the others doubled in training, none in evaluation."""
    fields, made = PLACES[place]
    module, run = made(model_with(fields))
    with torch.no_grad():
        torch.manual_seed(5)
        kept, dropped = (module.train(mode) and run() for mode in (False, True))
        assert torch.equal(module.eval() and run(), kept)
    there = kept.abs() > 1e-4  # a masked weight is 0 in any case
    zero, doubled = (torch.isclose(dropped, kept * factor, rtol=1e-4, atol=1e-5) for factor in (0, 2))
    assert (zero | doubled)[there].all()
    assert (zero & there).sum() / there.sum() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(dropped.mean(), kept.mean(), rtol=0.2, atol=0.1)


@pytest.mark.parametrize("place", [place for place, (fields, _) in PLACES.items() if fields])
def test_each_dropout_alone_changes_training_and_nothing_else(place):
    model, ids = model_with(PLACES[place][0]), torch.arange(10).view(2, 5)

    def run() -> torch.Tensor:
        return model(ids, memory=model.encode(ids))

    torch.manual_seed(0)
    with torch.no_grad():
        model.train()
        assert not torch.equal(run(), run())
        model.eval()
        assert torch.equal(run(), run())


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters())), strict=True))


@pytest.mark.parametrize("position", ["none", "t5", "shaw"])
@pytest.mark.parametrize(("layers", "share"), [(6, 6), (6, 3), (5, 2)])
def test_shared_layers_are_a_loop_over_the_same_weights(layers, share, position):
    """Beside a stack of as many layers whose weights are equal: its states, and the sum of its layers' gradients."""
    kept = {"blocks": (block(attention=attention(position=position)),), "layers": layers}
    shared, apart = (
        shaken(Transformer(Spec(vocab=V, width=E, context=64, decoder=Stack(**kept, share=n)))) for n in (share, 1)
    )
    of = [layer // share for layer in range(layers)]
    own = shared.state_dict()
    for name in apart.state_dict():
        _, *rest = name.split("layers.")
        number = int(rest[0].split(".")[0]) if rest else None
        source = name if number is None else name.replace(f"layers.{number}.", f"layers.{of[number]}.")
        apart.state_dict()[name].copy_(own[source])
    ids = torch.randint(V, (2, 9), generator=torch.Generator().manual_seed(3))
    one, other = shared(ids), apart(ids)
    torch.testing.assert_close(one, other)
    mine, theirs = gradients(shared, one.square().mean()), gradients(apart, other.square().mean())
    for name, found in mine.items():
        if "layers." in name:
            number = int(name.split("layers.")[1].split(".")[0])
            names = [name.replace(f"layers.{number}.", f"layers.{i}.") for i in range(layers) if of[i] == number]
            expected = sum(theirs[name] for name in names)
        else:
            expected = theirs[name]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6, msg=name)
    one_layer = sum(p.numel() for p in shared.decoder.layers[0].parameters())
    rest = sum(p.numel() for name, p in shared.named_parameters() if "layers." not in name)
    assert sum(p.numel() for p in shared.parameters()) == rest + one_layer * (of[-1] + 1)
    cache = Contiguous(shared.spec, 2, 9, torch.float32)  # each use of a layer keeps keys of its own
    with torch.no_grad():
        found = torch.cat([shared(part, cache=cache) for part in ids.split([4, 1, 1, 3], 1)], 1)
    torch.testing.assert_close(found, one, rtol=1e-4, atol=1e-5)


def asking(layers: int = 2) -> Transformer:
    """Tokens that ask an encoder's text and do not see each other; in the encoder they do."""
    cross = Attention(heads=2, kv_heads=2, head_dim=4, causal=False, bias=True, out_bias=True)
    left = Stack(layers=layers, blocks=(block(attention=None, cross=cross),))
    right = Stack(layers=1, blocks=(block(attention=attention(causal=False)),))
    return shaken(Transformer(Spec(vocab=V, width=E, context=64, encoder=right, decoder=left)))


def asked(model: Transformer, ids: torch.Tensor, states: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """One row ids [T], by torch's own attention and layers, of the encoder's states [S, E]: states, and weights."""
    h, found = model.embedding.weight[ids], []
    for layer in model.decoder.layers:
        weight, own = pieces(layer), nn.MultiheadAttention(E, 2, batch_first=True)
        for leaf in ("weight", "bias"):
            getattr(own, f"in_proj_{leaf}").data = torch.cat([weight[f"cross.{part}.{leaf}"] for part in "qkv"])
            getattr(own.out_proj, leaf).data = weight[f"cross.out.{leaf}"]
        y = layer_norm(h, (E,), weight["cross_norm.weight"], weight["cross_norm.bias"])
        read, weights = own(y[None], states[None], states[None], average_attn_weights=False)
        h = h + read[0]
        y = layer_norm(h, (E,), weight["ffn_norm.weight"], weight["ffn_norm.bias"])
        y = gelu(y @ weight["ffn.up.weight"].T + weight["ffn.up.bias"], approximate="tanh")
        h = h + y @ weight["ffn.down.weight"].T + weight["ffn.down.bias"]
        found.append(weights[0])
    return layer_norm(h, (E,), *model.decoder.norm.parameters()), found


@pytest.mark.parametrize("T", [1, 5])
def test_queries_of_one_sequence_ask_another(T):
    """Target attention (Zhou et al. 2018): an item, or a sequence, asks histories of 6 and of 2; beside torch's own."""
    model, generator = asking(), torch.Generator().manual_seed(3)
    ids, history = (torch.randint(V, (2, n), generator=generator) for n in (T, 6))
    memory = model.encode(history, Layout.packed(((6,), (2,)), 6))
    found, weights = model.hidden(ids, memory=memory), model.weights(ids, memory=memory)
    assert set(weights) == {"0.cross", "1.cross"}
    for row, n in enumerate((6, 2)):
        expected, of_layers = asked(model, ids[row], memory.states[row, :n])
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)
        for layer, weight in enumerate(of_layers):
            torch.testing.assert_close(weights[f"{layer}.cross"][row, :, :, :n], weight, atol=1e-5, rtol=1e-5)
            assert (weights[f"{layer}.cross"][row, :, :, n:] == 0).all()
    assert model.weights(ids, (), memory=memory) == {}
    assert set(model.weights(ids, ["1.cross"], memory=memory)) == {"1.cross"}
    with pytest.raises(
        Refusal, match=r"a layer must be one of the model's, but found 0\. .*choose of 0\.cross, 1\.cross"
    ):
        model.weights(ids, ("0",), memory=memory)


def test_a_block_that_only_asks_is_cached_recomputed_and_drawn_like_any_other():
    model, generator = asking(), torch.Generator().manual_seed(3)
    ids, history = (torch.randint(V, (3, n), generator=generator) for n in (5, 6))
    with torch.no_grad():
        memory = model.encode(history)
        whole, cache = model(ids, memory=memory), model.cache(3, 5)
        for t in range(3):
            torch.testing.assert_close(model(ids[:, t : t + 1], cache=cache, memory=memory)[:, 0], whole[:, t])
        cache.pick([2, 0, 0, 1])
        cache.take([3, 1])
        rest = model(ids[[1, 0], 3:], cache=cache, memory=memory.take([1, 0]))
        torch.testing.assert_close(rest, whole[[1, 0], 3:])
    found = []
    for again in (False, True):
        model.train().decoder.recompute = again
        found.append(gradients(model, model(ids, memory=model.encode(history)).square().mean()))
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, rtol=1e-5, atol=1e-6, msg=name)
    for way in ("normal", "xavier", "fan_in"):
        initialise(Transformer(model.spec.model_copy(update={"init": way})))
    seen = 12 * 2 * 8 * 10 + 12 * 8 * 10  # two layers that see the 10, and the encoder's one
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name)
    assert train_flops(model, 10) == 6 * (weights + V * E) + seen


def test_a_factorised_table_is_projected_behind_the_norm():
    """V vectors of width 3 and a matrix to 8: h = W norm(x + p) + b, and back to 3 in the head for masked words."""
    inner = Entry(inner=3, position=learned.Config(), norm=layernorm.Config())
    stack = Stack(layers=1, blocks=(block(attention=attention(causal=False)),), entry=inner)
    model = shaken(Transformer(Spec(vocab=V, width=E, context=16, encoder=stack, head=masked.Config())))
    entry, ids = model.encoder.entry, torch.randint(V, (2, 5), generator=torch.Generator().manual_seed(3))
    found = entry(model.embedding(ids), Layout.one_document(5))
    x = model.embedding.weight[ids] + entry.position.table.weight[:5]
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    x = x * entry.norm.weight + entry.norm.bias
    expected = torch.einsum("bti,ei->bte", x, entry.project.weight) + entry.project.bias
    torch.testing.assert_close(found, expected)
    body = sum(p.numel() for p in (*model.encoder.layers.parameters(), *model.encoder.norm.parameters()))
    head = E * 3 + 3 + 2 * 3 + V  # dense, norm, a bias for each token
    assert sum(p.numel() for p in model.parameters()) == V * 3 + 16 * 3 + 2 * 3 + 3 * E + E + body + head
    for name, gradient in gradients(model, model(ids).square().sum()).items():
        assert gradient.abs().sum() > 0, name


def test_a_tied_head_needs_the_width_of_the_table():
    spec = Spec(vocab=V, width=E, context=16, decoder=Stack(layers=1, blocks=(block(),), entry=Entry(inner=3)))
    with pytest.raises(Refusal, match="a tied head must find vectors of the model's width, but found 3 for width 8"):
        Transformer(spec)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(
    "fields",
    [
        {"attention": attention(position=t5.Config(buckets=8, farthest=16)), "norm": rmsnorm.Config()},
        {"attention": attention(position=shaw.Config(farthest=3)), "ffn": glu.Config(hidden=16), "norm_at": "post"},
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_computed_again_give_the_same_gradients(fields, dropout, packed):
    """Of encoder, decoder and what lies between them; each block runs a second time in the backward pass."""
    model, ids = both(**fields, dropout=dropout).train(), torch.arange(24).view(2, 12) % V
    documents, others = (((5, 7), (12,)), ((3, 4), (7,))) if packed else (None, None)
    here, there = (d and Layout.packed(d, n) for d, n in ((documents, 12), (others, 7)))
    ran: list[nn.Module] = []
    for stack in model.stacks:
        for layer in stack.layers:
            layer.register_forward_pre_hook(lambda module, given: ran.append(module))
    found = []
    for again in (False, True):
        for stack in model.stacks:
            stack.recompute = again
        torch.manual_seed(7)
        out = model(ids, here, memory=model.encode(ids[:, :7], there))
        found.append(gradients(model, out.square().mean()))
    assert len(ran) == 4 + 2 * 4
    for name, expected in found[0].items():
        assert expected.abs().sum() > 0, name
        torch.testing.assert_close(found[1][name], expected, rtol=1e-5, atol=1e-6, msg=name)
