"""Every family against its twin in transformers, on tiny random models in fp32: the first rung that fails names the
fault.

A family's rungs: config round trip, logits, loss, gradients, cached decoding, packed documents, a saved folder
reopened.
"""

import json

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

from viva.base.choice import names, variant
from viva.base.config import Config
from viva.model import folder as checkpoint
from viva.model import tensors
from viva.model.arch import llama
from viva.model.arch._family import Keys
from viva.model.cache import Contiguous
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.linear.joined import pieces
from viva.model.position import rope
from viva.model.position.scaling import dynamic, linear, llama3, yarn
from viva.model.transformer import Transformer

FAMILIES = "viva.model.arch"
ATOL = 1e-5
B, T = 2, 24

SCALINGS = {
    "linear": linear.Config(factor=2.0),
    "dynamic": dynamic.Config(factor=2.0, trained=16),
    "llama3": llama3.Config(factor=4.0, trained=16, low_freq_factor=1.0, high_freq_factor=4.0),
    "yarn": yarn.Config(factor=4.0, trained=16),
    "yarn-mscale": yarn.Config(factor=4.0, trained=16, mscale=0.7, mscale_all_dim=0.4, truncate=False),
}
DYNAMIC = rope.Config(theta=500.0, scaling=SCALINGS["dynamic"])


def cases() -> dict[str, tuple[str, Config]]:
    """Each family's tiny example, then what a family can vary: heads, tying, scaling."""
    found = {name: (name, variant(FAMILIES, name).TINY) for name in names(FAMILIES) if name != "custom"}
    for name, (_, tiny) in list(found.items()):
        found[f"{name}-tied" if not tiny.tied else f"{name}-untied"] = (
            name,
            tiny.model_copy(update={"tied": not tiny.tied}),
        )
        if "kv_heads" in type(tiny).model_fields:
            found[f"{name}-mha"] = (name, tiny.model_copy(update={"kv_heads": tiny.heads}))
            found[f"{name}-mqa"] = (name, tiny.model_copy(update={"kv_heads": 1}))
    for name, scaling in SCALINGS.items():
        context = 16 if name == "dynamic" else 64  # it acts past the context only
        position = rope.Config(theta=500.0, scaling=scaling)
        found[f"llama-{name}"] = ("llama", llama.TINY.model_copy(update={"position": position, "context": context}))
    biased = llama.TINY.model_copy(update={"bias": True, "ffn_bias": True})
    return found | {"llama-biased": ("llama", biased)}


CASES = cases()


@pytest.fixture(params=CASES)
def pair(request, tmp_path):
    """(family name, config, our model, the twin opened from our saved folder, the folder)."""
    name, config = CASES[request.param]
    ours = shaken(initialise(Transformer(config.spec()), seed=1)).eval()
    checkpoint.save(tmp_path / "saved", config, ours)
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved", attn_implementation="eager").eval()
    return name, config, ours, twin, tmp_path / "saved"


def shaken(model: Transformer) -> Transformer:
    """Norms away from 1 and biases away from 0, so that a forgotten or swapped one shows."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def ids(vocab: int, *shape: int) -> torch.Tensor:
    return torch.randint(0, vocab, shape, generator=torch.Generator().manual_seed(3))


def test_every_family_is_on_the_ladder():
    assert {name for name, _ in CASES.values()} == set(names(FAMILIES)) - {"custom"}


def test_config_round_trip(pair):
    name, config, *_, folder = pair
    keys = Keys(json.loads((folder / "config.json").read_text()))
    family = variant(FAMILIES, name)
    assert family.from_hf(keys).spec() == config.spec()
    keys.finish()


def test_logits_and_loss(pair):
    _, config, ours, twin, _ = pair
    x = ids(config.vocab, B, T)
    theirs = twin(x, labels=x)
    mine = ours(x)
    torch.testing.assert_close(mine, theirs.logits, atol=ATOL, rtol=1e-5)
    loss = cross_entropy(mine[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    torch.testing.assert_close(loss, theirs.loss, atol=ATOL, rtol=1e-5)


def test_gradients(pair, tmp_path):
    name, config, ours, twin, _ = pair
    x = ids(config.vocab, B, T)
    cross_entropy(ours(x)[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
    twin(x, labels=x).loss.backward()
    mine, theirs = pieces(ours, lambda parameter: parameter.grad), dict(twin.named_parameters())
    for row in tensors.named(variant(FAMILIES, name), ours):
        joined = torch.cat([mine[part] for part in row.ours])
        expected = theirs[row.theirs].grad
        torch.testing.assert_close(
            joined.T if row.transposed else joined, expected, atol=ATOL, rtol=1e-4, msg=row.theirs
        )


def test_cached_decoding(pair):
    """Eight tokens at once, then one by one, against transformers doing the same with its own cache."""
    _, config, ours, twin, _ = pair
    x = ids(config.vocab, B, T)
    cache, past = Contiguous(ours.spec, B, T, torch.float32), None
    with torch.no_grad():
        for part in (x[:, :8], *x[:, 8:].split(1, dim=1)):
            mine = ours(part, cache=cache)
            theirs = twin(part, past_key_values=past, use_cache=True)
            past = theirs.past_key_values
            torch.testing.assert_close(mine, theirs.logits, atol=ATOL, rtol=1e-5)
        if (
            getattr(config, "position", None) != DYNAMIC
        ):  # cached keys keep their angles, so a full pass differs by design, in both
            torch.testing.assert_close(mine[:, -1], ours(x)[:, -1], atol=ATOL, rtol=1e-5)


def test_rows_of_unequal_length_decode_as_if_alone(pair):
    """Right-padded prompts share a batch; each row's next logits are those of the row by itself."""
    _, config, ours, _, _ = pair
    x, lengths = ids(config.vocab, B, T), torch.tensor([5, 9])
    cache = Contiguous(ours.spec, B, T, torch.float32)
    with torch.no_grad():
        ours(x[:, :9], cache=cache)
        cache.keep(lengths)
        step = ours(x[:, 20:21], cache=cache)
        for row, length in enumerate(lengths.tolist()):
            alone = ours(torch.cat([x[row : row + 1, :length], x[row : row + 1, 20:21]], dim=1))
            torch.testing.assert_close(step[row, -1], alone[0, -1], atol=ATOL, rtol=1e-5)


def test_packed_documents_match_separate_ones(pair):
    """Logits and gradients of packed rows are those of each document by itself, in transformers."""
    _, config, ours, twin, _ = pair
    documents = ((5, 7, 8), (13, 4))
    x = ids(config.vocab, B, T)
    packed = ours(x, Layout.packed(documents, T))
    weight = torch.randn(packed.shape, generator=torch.Generator().manual_seed(5))
    total, separate = 0.0, 0.0
    for row, lengths in enumerate(documents):
        start = 0
        for length in lengths:
            span = slice(start, start + length)
            theirs = twin(x[row : row + 1, span]).logits
            torch.testing.assert_close(packed[row : row + 1, span], theirs, atol=ATOL, rtol=1e-5)
            total = total + (packed[row, span] * weight[row, span]).sum()
            separate = separate + (theirs[0] * weight[row, span]).sum()
            start += length
    total.backward()
    separate.backward()
    mine, expected = ours.embedding.weight.grad, twin.get_input_embeddings().weight.grad
    torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)


def test_saved_folder_round_trip_is_bit_identical(pair, tmp_path):
    _, config, ours, twin, folder = pair
    loaded = checkpoint.load(folder)
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, dict(loaded.model.named_parameters())[name]), name
    twin.save_pretrained(tmp_path / "theirs")  # and a folder that transformers wrote
    theirs = checkpoint.load(tmp_path / "theirs")
    assert theirs.config.spec() == config.spec()
    x = ids(config.vocab, B, T)
    torch.testing.assert_close(theirs.model(x), twin(x).logits, atol=ATOL, rtol=1e-5)
