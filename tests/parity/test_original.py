"""The Transformer as published, which transformers has not, against torch.nn.Transformer with the same weights."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from viva.model import folder
from viva.model.arch import original
from viva.model.cache import Contiguous
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.transformer import Transformer
from viva.train.batch import Batch, Source
from viva.train.loss import IGNORE
from viva.train.objective import seq2seq

CONFIG = original.TINY.model_copy(update={"decoder_layers": 3, "dropout": 0.0})
B, T, S = 2, 11, 9
MODULES = {  # torch's name of a module: ours
    "self_attn.out_proj": "attention.out",
    "multihead_attn.out_proj": "cross.out",
    "linear1": "ffn.up",
    "linear2": "ffn.down",
}


@pytest.fixture
def ours() -> Transformer:
    torch.manual_seed(0)
    model = initialise(Transformer(CONFIG.spec()), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.fixture
def theirs(ours) -> nn.Transformer:
    """torch's stacks end in a norm of their own, which the paper has not: it is taken off."""
    E, H, F = CONFIG.width, CONFIG.heads, CONFIG.hidden
    twin = nn.Transformer(E, H, CONFIG.layers, CONFIG.decoder_layers, F, dropout=0.0, batch_first=True)
    twin.encoder.norm = twin.decoder.norm = None
    twin.load_state_dict(translated(pieces(ours), twin))
    return twin


def translated(mine: dict[str, Tensor], twin: nn.Transformer) -> dict[str, Tensor]:
    """Our tensors by the names of torch's: q, k and v in one, norms numbered in the order of the block."""
    found = {}
    for name in twin.state_dict():
        stack, _, layer, *inside, leaf = name.split(".")
        base, module = f"{stack}.layers.{layer}.", ".".join(inside)
        norms = {"encoder": ("attention", "ffn"), "decoder": ("attention", "cross", "ffn")}[stack]
        if leaf.startswith("in_proj"):
            own = {"self_attn": "attention", "multihead_attn": "cross"}[module]
            kind = leaf.removeprefix("in_proj_")
            found[name] = torch.cat([mine[f"{base}{own}.{part}.{kind}"] for part in "qkv"])
        elif module.startswith("norm"):
            found[name] = mine[f"{base}{norms[int(module[-1]) - 1]}_norm.{leaf}"]
        else:
            found[name] = mine[f"{base}{MODULES[module]}.{leaf}"]
    return found


def embedded(table: Tensor, ids: Tensor) -> Tensor:
    """Section 3.4 and 3.5, number by number: sqrt(E) times a row, plus sin or cos of pos / 10000^(2 i / E)."""
    E = table.shape[1]
    place = [
        [(math.sin, math.cos)[j % 2](pos / 10_000 ** ((j - j % 2) / E)) for j in range(E)]
        for pos in range(ids.shape[1])
    ]
    return table[ids] * E**0.5 + torch.tensor(place)


def test_logits_and_gradients(ours, theirs):
    generator = torch.Generator().manual_seed(3)
    source, target = (torch.randint(0, CONFIG.vocab, (B, n), generator=generator) for n in (S, T))
    weight = torch.randn(B, T, CONFIG.vocab, generator=generator) / T
    mine = ours(target, memory=ours.encode(source))
    table = ours.embedding.weight.detach().clone().requires_grad_()
    mask = nn.Transformer.generate_square_subsequent_mask(T)
    states = theirs(embedded(table, source), embedded(table, target), tgt_mask=mask, tgt_is_causal=True)
    expected = states @ table.T
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
    (mine * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.embedding.weight.grad, table.grad, atol=1e-5, rtol=1e-4)
    gradients = translated(pieces(ours, lambda parameter: parameter.grad), theirs)
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4, msg=name)


def read(theirs: nn.Transformer, table: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The last states [B, T, E] of torch's decoder."""
    mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
    return theirs(embedded(table, source), embedded(table, target), tgt_mask=mask, tgt_is_causal=True)


def texts(seed: int) -> tuple[Tensor, Tensor]:
    """Sources [B, S] and targets [B, T]."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(0, CONFIG.vocab, (B, n), generator=generator) for n in (S, T))


def listened(stacks: nn.Module) -> list[Tensor]:
    """What leaves each layer of both stacks, the encoder's first, in a pass to come."""
    found = []
    for layer in (*stacks.encoder.layers, *stacks.decoder.layers):
        layer.register_forward_hook(lambda module, given, out: found.append(out))
    return found


def weighed(theirs: nn.Transformer) -> dict[str, Tensor]:
    """The attention weights of each of torch's modules in a pass to come: the same call, asked for them."""
    found = {}

    def keep(name, module, given, named, out):
        found[name] = module.forward(*given, **{**named, "need_weights": True, "average_attn_weights": False})[1]

    for name, module in theirs.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_hook(partial(keep, name), with_kwargs=True)
    return found


@torch.no_grad()
def test_states_and_attention_weights_of_every_layer(ours, theirs):
    source, target = texts(5)
    mine, expected, weights = listened(ours), listened(theirs), weighed(theirs)
    memory = ours.encode(source)
    ours.hidden(target, memory=memory)
    read(theirs, ours.embedding.weight, source, target)
    assert len(mine) == len(expected) == CONFIG.layers + CONFIG.decoder_layers
    for layer, states in enumerate(zip(mine, expected, strict=True)):
        torch.testing.assert_close(*states, atol=1e-5, rtol=1e-5, msg=f"layer {layer}")
    found = {f"encoder.layers.{i}.self_attn": w for i, w in ours.weights(source, encoder=True).items()}
    for name, of_layer in ours.weights(target, memory=memory).items():
        layer, _, cross = name.partition(".")
        found[f"decoder.layers.{layer}.{'multihead' if cross else 'self'}_attn"] = of_layer
    assert found.keys() == weights.keys()
    for name, of_layer in weights.items():
        torch.testing.assert_close(found[name], of_layer, atol=1e-6, rtol=1e-5, msg=name)


@torch.no_grad()
def test_the_loss_is_torchs(ours, theirs):
    """Label smoothing 0.1 as in section 5.4, in training, and some tokens that are not learned."""
    source, target = texts(6)
    labels = target.roll(-1, 1).masked_fill(torch.arange(T) > T - 3, IGNORE)
    batch = Batch(target, labels, ((T,),) * B, Source(source, ((S,),) * B))
    found = seq2seq.Config(smoothing=0.1).build()(ours.train(), batch)
    scores = read(theirs, ours.embedding.weight, source, target) @ ours.embedding.weight.T
    expected = nn.CrossEntropyLoss(label_smoothing=0.1)(scores.mT, labels)
    torch.testing.assert_close(found.sum / found.count, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cached_decoding(ours, theirs):
    """Four tokens at once, then one by one from the cache, against torch's decoder over the whole of the target."""
    source, target = texts(7)
    expected = read(theirs, ours.embedding.weight, source, target) @ ours.embedding.weight.T
    cache, memory = Contiguous(ours.spec, B, T, torch.float32), ours.encode(source)
    found = [ours(part, cache=cache, memory=memory) for part in (target[:, :4], *target[:, 4:].split(1, 1))]
    assert cache.held == T
    torch.testing.assert_close(torch.cat(found, 1), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_saved_folder_is_the_same_model(ours, theirs, tmp_path):
    folder.save(tmp_path, CONFIG, ours)
    loaded = folder.load(tmp_path)
    assert loaded.config.spec() == CONFIG.spec()
    source, target = texts(8)
    found = loaded.model.eval()(target, memory=loaded.model.encode(source))
    expected = read(theirs, ours.embedding.weight, source, target) @ ours.embedding.weight.T
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_packed_pairs_are_each_pair_alone(ours, theirs):
    """Two translations in one row, against torch's model on each of them."""
    generator = torch.Generator().manual_seed(4)
    source, target = (torch.randint(0, CONFIG.vocab, (1, n), generator=generator) for n in (S, T))
    memory = ours.encode(source, Layout.packed(((4, 5),), S))
    mine = ours.hidden(target, Layout.packed(((6, 5),), T), memory=memory)
    for read, written in ((slice(0, 4), slice(0, 6)), (slice(4, 9), slice(6, 11))):
        table, mask = (
            ours.embedding.weight,
            nn.Transformer.generate_square_subsequent_mask(written.stop - written.start),
        )
        expected = theirs(embedded(table, source[:, read]), embedded(table, target[:, written]), tgt_mask=mask)
        torch.testing.assert_close(mine[:, written], expected, atol=1e-5, rtol=1e-5)


def test_the_base_model_has_the_parameters_of_table_3():
    """With the 37,000 tokens of section 5.1: V E, and in each of 6 layers three attentions of 4 E^2, two networks of
    2 E F, their biases and five norms; the table rounds to 65 million.
    """
    with torch.device("meta"):
        model = Transformer(original.Config(vocab=37_000).spec())
    V, E, F = 37_000, 512, 2048
    each = 3 * 4 * (E * E + E) + 2 * (2 * E * F + F + E) + 5 * 2 * E
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == V * E + 6 * each
    assert count == pytest.approx(65e6, rel=0.03)


def test_starting_weights_are_glorots(ours):
    """No matrix of a fresh model reaches beyond sqrt(6 / (in + out)), and each comes close to it."""
    for name, weight in pieces(initialise(Transformer(CONFIG.spec()))).items():
        if weight.ndim == 2 and name != "embedding.weight":
            bound = (6 / sum(weight.shape)) ** 0.5
            assert 0.9 * bound < weight.abs().max() <= bound, name
