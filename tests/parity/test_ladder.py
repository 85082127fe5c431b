"""Every family against its twin in transformers, on tiny random models in fp32: the first rung that fails names the
fault.

A family's rungs: config round trip, states of every layer, attention weights, logits, gradients, cached decoding,
packed documents, a saved folder reopened; the losses of its heads are in test_loss_rung.py. Families that have no twin
are in `twins.WITHOUT`, each with the tests that take its place.
"""

import ast
import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from twins import ATOL, FAMILIES, WITHOUT, B, Pair, S, T, examples

from viva.base.choice import names, variant
from viva.base.config import Config, kind
from viva.model import folder as checkpoint
from viva.model import tensors
from viva.model.arch import electra, gemma2, gpt2, llama, qwen2_moe, t5, vit
from viva.model.arch._family import Keys
from viva.model.cache import Contiguous
from viva.model.head import classify, masked, none, span, tag
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.position import rope
from viva.model.position.scaling import dynamic, linear, llama3, yarn
from viva.model.spec import Spec

SCALINGS = {
    "linear": linear.Config(factor=2.0),
    "dynamic": dynamic.Config(factor=2.0, trained=16),
    "llama3": llama3.Config(factor=4.0, trained=16, low_freq_factor=1.0, high_freq_factor=4.0),
    "yarn": yarn.Config(factor=4.0, trained=16),
    "yarn-mscale": yarn.Config(factor=4.0, trained=16, mscale=0.7, mscale_all_dim=0.4, truncate=False),
}
DYNAMIC = rope.Config(theta=500.0, scaling=SCALINGS["dynamic"])
TESTS = Path(__file__).parents[1]


# BERT's kin, and what stands between pooling and scores in their classifiers
ENCODERS = {
    "bert": {"dense": "tanh"},
    "roberta": {"dense": "tanh"},
    "distilbert": {"dense": "relu"},
    "albert": {"dense": "tanh"},
    "electra": {"dense": "gelu"},
}


def cases() -> dict[str, tuple[str, Config]]:
    """Each family's tiny example, then what a family can vary: heads, tying, scaling, what stands on top."""
    found = {name: (name, tiny) for name, tiny in examples().items()}
    for name, (_, tiny) in list(found.items()):
        if tiny.spec().encoder is None and "tied" in type(tiny).model_fields:
            other = f"{name}-tied" if not tiny.tied else f"{name}-untied"
            found[other] = (name, tiny.model_copy(update={"tied": not tiny.tied}))
        if "kv_heads" in type(tiny).model_fields:
            found[f"{name}-mha"] = (name, tiny.model_copy(update={"kv_heads": tiny.heads}))
            found[f"{name}-mqa"] = (name, tiny.model_copy(update={"kv_heads": 1}))
    for name, scaling in SCALINGS.items():
        context = 16 if name == "dynamic" else 64  # it acts past the context only
        position = rope.Config(theta=500.0, scaling=scaling)
        found[f"llama-{name}"] = ("llama", llama.TINY.model_copy(update={"position": position, "context": context}))
    found["llama-biased"] = ("llama", llama.TINY.model_copy(update={"bias": True, "ffn_bias": True}))
    v1_1 = {"gated": True, "activation": "gelu_tanh", "tied": False}
    found["t5-v1.1"] = ("t5", t5.TINY.model_copy(update=v1_1))
    for name, dense in ENCODERS.items():
        for head in (none.Config(), tag.Config(labels=5), span.Config(), classify.Config(labels=3, **dense)):
            config = variant(FAMILIES, name).TINY.model_copy(update={"head": head})
            found[f"{name}-{kind(head)}"] = (name, config)
    found["electra-masked"] = ("electra", electra.TINY.model_copy(update={"head": masked.Config()}))
    found["electra-unfactorised"] = ("electra", electra.TINY.model_copy(update={"inner": None}))
    found["gemma2-uncapped"] = ("gemma2", gemma2.TINY.model_copy(update={"cap": None, "head_cap": None, "bias": True}))
    sparse = {"layers": 3, "every": 2, "normalised": True}
    found["qwen2_moe-some"] = ("qwen2_moe", qwen2_moe.TINY.model_copy(update=sparse))
    found["qwen2_moe-dense"] = ("qwen2_moe", qwen2_moe.TINY.model_copy(update={"dense_layers": (0,)}))
    found["vit-none"] = ("vit", vit.TINY.model_copy(update={"head": none.Config(), "bias": False}))
    return found


CASES = cases()
SPECS = {case: config.spec() for case, (_, config) in CASES.items()}


def of(holds: Callable[[Spec], bool]) -> pytest.MarkDecorator:
    """The cases of which a rung can be asked, in place of all."""
    return pytest.mark.parametrize("pair", [case for case, spec in SPECS.items() if holds(spec)], indirect=True)


writers = of(lambda spec: kind(spec.head) == "lm")
readers = of(lambda spec: spec.patches is None)
tellers = of(lambda spec: (spec.encoder or spec.decoder).entry.segments > 1)


def test_a_family_need_not_be_told_whether_it_is_tied(monkeypatch):
    class Tied(gpt2.Body):
        def spec(self):
            return gpt2.Config(**dict(self)).spec()

    tiny = Tied(**{name: value for name, value in gpt2.TINY if name != "tied"})
    monkeypatch.setattr(gpt2, "TINY", tiny)
    assert cases()["gpt2"] == ("gpt2", tiny)
    assert {"gpt2-tied", "gpt2-untied"} & cases().keys() == set()


def per_token(found: torch.Tensor) -> bool:
    """Whether a head gives something for each token, rather than for each document."""
    return found.shape[:2] == (B, T)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The pair of a case, made once."""
    return functools.cache(lambda case: Pair(*CASES[case], tmp_path_factory.mktemp("pair") / "saved"))


@pytest.fixture(params=CASES)
def pair(request, made):
    """What the rungs look at."""
    return made(request.param)


@pytest.fixture
def own(pair, tmp_path):
    """The same made anew, for a rung that leaves gradients behind."""
    return Pair(pair.name, pair.config, tmp_path / "saved")


@pytest.mark.parametrize("name", names(FAMILIES))
def test_every_family_is_on_the_ladder(name):
    """By its tiny example, or by tests that are there."""
    family = f"{FAMILIES}.{name}"
    assert hasattr(variant(FAMILIES, name), "TINY"), f"{family} must have TINY, a small example, to be tested by"
    for test in WITHOUT.get(name, ()):
        file, function = test.split("::")
        assert function in functions(TESTS / file), f"{family} must be tested by {test}, but there is no such test"
    assert name in WITHOUT or (name, variant(FAMILIES, name).TINY) in CASES.values()


def functions(file: Path) -> set[str]:
    """The names of those that a module defines; none where there is no such file."""
    tree = ast.parse(file.read_text() if file.is_file() else "")
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (None, r"viva\.model\.arch\.gpt2 must have TINY, a small example, to be tested by"),
        (("parity/test_gpt3.py::test_logits",), r"gpt2 must be tested by .*test_gpt3.*, but there is no such test"),
        (("parity/test_ladder.py::test_gpt3",), r"gpt2 must be tested by .*test_gpt3, but there is no such test"),
    ],
    ids=["no-example", "no-file", "no-function"],
)
def test_a_family_that_is_not_on_the_ladder_fails_with_its_name(tests, said, monkeypatch):
    if tests is None:
        monkeypatch.delattr(gpt2, "TINY")
        assert "gpt2" not in cases()
    else:
        monkeypatch.setitem(WITHOUT, "gpt2", tests)
    with pytest.raises(AssertionError, match=said):
        test_every_family_is_on_the_ladder("gpt2")


def test_config_round_trip(pair):
    keys = Keys(json.loads((pair.folder / "config.json").read_text()))
    assert pair.family.from_hf(keys).spec() == pair.config.spec()
    keys.finish()


def test_states_of_every_layer(pair):
    """What enters the first block and what each puts out, so that the first layer that differs is named."""
    stack = pair.ours.decoder or pair.ours.encoder
    found = dict.fromkeys(range(stack.spec.layers + 1))
    memory = {"memory": pair.ours.encode(pair.source)} if pair.both else {}
    pair.ours.hidden(pair.x, **memory, states=found)
    states = pair.twin(**pair.read(pair.x, pair.source), output_hidden_states=True)
    *expected, last = states.decoder_hidden_states if pair.both else states.hidden_states
    for layer, theirs in enumerate(expected):
        torch.testing.assert_close(found[layer], theirs, atol=ATOL, rtol=1e-5, msg=f"layer {layer}")
    shown_before_its_norm = pair.sees or pair.family.MODEL_TYPE == "clip_text_model"
    last = stack.norm(last) if stack.norm is not None and shown_before_its_norm else last
    torch.testing.assert_close(found[len(expected)], last, atol=ATOL, rtol=1e-5)


def test_attention_weights(pair):
    """Read from every layer of ours and of the twin's."""
    theirs = pair.twin(**pair.read(pair.x, pair.source), output_attentions=True)
    memory = {"memory": pair.ours.encode(pair.source)} if pair.both else {}
    mine = pair.ours.weights(pair.x, **memory)
    expected = {str(i): w for i, w in enumerate(theirs.decoder_attentions if pair.both else theirs.attentions)}
    expected |= {f"{i}.cross": w for i, w in enumerate(theirs.cross_attentions)} if pair.both else {}
    assert set(mine) == set(expected)
    if pair.both:
        mine |= {f"encoder {i}": w for i, w in pair.ours.weights(pair.source, encoder=True).items()}
        expected |= {f"encoder {i}": w for i, w in enumerate(theirs.encoder_attentions)}
    for name, weights in expected.items():
        torch.testing.assert_close(mine[name], weights, atol=1e-6, rtol=1e-5, msg=name)


def test_logits(pair):
    torch.testing.assert_close(pair.mine(pair.x), pair.theirs(pair.x), atol=ATOL, rtol=1e-5)


@tellers
def test_segments(pair):
    segments = torch.randint(0, 2, pair.x.shape, generator=torch.Generator().manual_seed(4))
    mine = pair.mine(pair.x, segments=segments)
    torch.testing.assert_close(mine, pair.theirs(pair.x, token_type_ids=segments), atol=ATOL, rtol=1e-5)


def test_gradients(own, tmp_path):
    """Of a weighted sum of all that comes out, by every tensor of the twin's."""
    weight = torch.randn(own.mine(own.x).shape, generator=torch.Generator().manual_seed(5)) / T
    (own.mine(own.x) * weight).sum().backward()
    (own.theirs(own.x) * weight).sum().backward()
    mine, theirs = pieces(own.ours, lambda parameter: parameter.grad), gradients_of(own.twin, tmp_path / "gradients")
    compared = 0
    for row in tensors.named(own.family, own.ours):
        if (known := theirs.get(row.theirs, theirs.get(row.theirs.removeprefix(own.family.BASE)))) is None:
            continue  # a buffer there
        joined = torch.cat([mine[part] for part in row.ours])
        compared += 1
        mine_there = joined.T if row.transposed else joined[(None,) * row.flat]
        torch.testing.assert_close(mine_there, known, atol=ATOL, rtol=1e-4, msg=row.theirs)
    assert compared == len(theirs)


@pytest.mark.parametrize("name", ENCODERS)
def test_dropout_falls_where_the_twins_does(name, tmp_path):
    """In training, from one seed, the same numbers are drawn in the same order. Attention's weights are spared: a
    fused kernel may draw theirs in another order."""
    both = {"dropout": 0.3, **({"dense_dropout": 0.3} if name in ("roberta", "electra") else {})}
    head = classify.Config(labels=3, **ENCODERS[name], **both)
    config = variant(FAMILIES, name).TINY.model_copy(update={"dropout": 0.2, "weight_dropout": 0.0, "head": head})
    pair = Pair(name, config, tmp_path / "saved")
    assert checkpoint.load(pair.folder).config.spec() == config.spec()
    found = []
    for model in (pair.ours.train(), pair.twin.train()):
        torch.manual_seed(6)
        found.append(pair.mine(pair.x) if model is pair.ours else pair.theirs(pair.x))
    torch.testing.assert_close(*found, atol=ATOL, rtol=1e-5)
    assert not torch.allclose(found[0], pair.mine(pair.x), atol=1e-3)  # it falls at all


def gradients_of(twin, folder) -> dict[str, torch.Tensor]:
    """By the names of a saved folder, which may differ from those in memory: saved as if they were the weights."""
    with torch.no_grad():
        for buffer in twin.buffers():
            if buffer.is_floating_point():
                buffer.fill_(torch.nan)  # no gradient
        for parameter in twin.parameters():
            parameter.copy_(torch.nan if parameter.grad is None else parameter.grad)
    twin.save_pretrained(folder)
    return {name: g for name, g in load_file(folder / "model.safetensors").items() if not g.isnan().all()}


@writers
def test_cached_decoding(pair):
    """Eight tokens at once, then one by one, against transformers doing the same with its own cache."""
    cache, past = Contiguous(pair.ours.spec, B, T, torch.float32), None
    with torch.no_grad():
        memory = pair.ours.encode(pair.source) if pair.both else None
        for part in (pair.x[:, :8], *pair.x[:, 8:].split(1, dim=1)):
            mine = pair.ours(part, cache=cache, memory=memory)
            if pair.caches:
                theirs = pair.twin(**pair.read(part, pair.source), past_key_values=past, use_cache=True)
                past = theirs.past_key_values
                torch.testing.assert_close(mine, theirs.logits, atol=ATOL, rtol=1e-5)
        if getattr(pair.config, "position", None) != DYNAMIC:
            # cached keys keep their angles, so a full pass differs by design, in both
            torch.testing.assert_close(mine[:, -1], pair.mine(pair.x)[:, -1], atol=ATOL, rtol=1e-5)
    if not pair.caches:
        torch.testing.assert_close(mine[:, -1], pair.theirs(pair.x)[:, -1], atol=ATOL, rtol=1e-5)


@writers
def test_rows_of_unequal_length_decode_as_if_alone(pair):
    """Right-padded prompts share a batch; each row's next logits are those of the row by itself."""
    x, lengths, ours = pair.x, torch.tensor([5, 9]), pair.ours
    cache = Contiguous(ours.spec, B, T, torch.float32)
    with torch.no_grad():
        memory = ours.encode(pair.source) if pair.both else None
        ours(x[:, :9], cache=cache, memory=memory)
        cache.keep(lengths)
        step = ours(x[:, 20:21], cache=cache, memory=memory)
        for row, length in enumerate(lengths.tolist()):
            one = torch.cat([x[row : row + 1, :length], x[row : row + 1, 20:21]], dim=1)
            alone = ours(one, memory=ours.encode(pair.source[row : row + 1]) if pair.both else None)
            torch.testing.assert_close(step[row, -1], alone[0, -1], atol=ATOL, rtol=1e-5)


@readers
def test_packed_documents_match_separate_ones(own):
    """What comes out for packed rows, and its gradients, are those of each document by itself, in transformers."""
    documents, sources = ((5, 7, 12), (13, 4, 7)), ((8, 3, 6), (2, 9, 6))
    ours, x = own.ours, own.x
    memory = ours.encode(own.source, Layout.packed(sources, S)) if own.both else None
    packed = ours(x, Layout.packed(documents, T), memory=memory)
    starts = [(row, sum(lengths[:i]), n) for row, lengths in enumerate(documents) for i, n in enumerate(lengths)]
    behind = [(row, sum(lengths[:i]), n) for row, lengths in enumerate(sources) for i, n in enumerate(lengths)]
    total, separate = 0.0, 0.0
    for number, ((row, start, n), (_, other, m)) in enumerate(zip(starts, behind, strict=True)):
        source = own.source[row : row + 1, other : other + m] if own.both else None
        theirs = own.theirs(x[row : row + 1, start : start + n], source)[0]
        mine = packed[row, start : start + n] if per_token(packed) else packed[number]
        torch.testing.assert_close(mine, theirs, atol=ATOL, rtol=1e-5)
        weight = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(number))
        total, separate = total + (mine * weight).sum(), separate + (theirs * weight).sum()
    total.backward()
    separate.backward()
    mine, expected = ours.embedding.weight.grad, own.twin.get_input_embeddings().weight.grad
    torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)


@readers
def test_padded_rows_match_the_twins_mask(pair):
    """Rows that end early, padding and all, against transformers with an attention_mask."""
    x, lengths = pair.x, (T, 15)
    layout = Layout.packed(tuple((n,) for n in lengths), T)
    mask = (torch.arange(T) < torch.tensor(lengths)[:, None]).long()
    name = "decoder_attention_mask" if pair.both else "attention_mask"
    memory = pair.ours.encode(pair.source) if pair.both else None
    mine, theirs = pair.ours(x, layout, memory=memory), pair.theirs(x, **{name: mask})
    if getattr(pair.config, "position", None) == DYNAMIC:  # theirs go by the longest row, ours by each row's own length
        theirs = torch.stack((theirs[0], torch.zeros_like(theirs[1])))
        theirs[1, : lengths[1]] = pair.theirs(x[1:, : lengths[1]])[0]
    for row, n in enumerate(lengths):
        rows = (mine[row, :n], theirs[row, :n]) if per_token(mine) else (mine[row], theirs[row])
        torch.testing.assert_close(*rows, atol=ATOL, rtol=1e-5)


def test_saved_folder_round_trip_is_bit_identical(pair, tmp_path):
    loaded = checkpoint.load(pair.folder)
    for name, parameter in pair.ours.named_parameters():
        assert torch.equal(parameter, dict(loaded.model.named_parameters())[name]), name
    pair.twin.save_pretrained(tmp_path / "theirs")  # and a folder that transformers wrote
    theirs = checkpoint.load(tmp_path / "theirs")
    assert theirs.config.spec() == pair.config.spec()
    memory = theirs.model.encode(pair.source) if pair.both else None
    torch.testing.assert_close(theirs.model(pair.x, memory=memory), pair.theirs(pair.x), atol=ATOL, rtol=1e-5)
