"""Virtual tokens against their twins in PEFT, on tiny models of transformers in fp32: the same logits and gradients
from their files, our files opened there, and the networks that make the vectors.
"""

import json

import peft
import pytest
import torch
import transformers

import viva
from viva.base.errors import Notice, Refusal
from viva.model import adapt, adapter, folder
from viva.model.adapt import p_tuning, prefix, prompt
from viva.model.arch import bart, bert, gemma2, gpt2, llama, marian, t5
from viva.model.init import initialise

P, ATOL = 4, 1e-6
IDS = torch.arange(2 * 9).reshape(2, 9) % 50
FAMILIES = {  # of an encoder and decoder as many layers and numbers a head on both sides, for PEFT has one of each
    "llama": llama.TINY,
    "gpt2": gpt2.TINY,
    "gemma2": gemma2.TINY,
    "t5": t5.TINY.model_copy(update={"head_dim": 8, "decoder_layers": 2}),
    "t5-odd": t5.TINY.model_copy(update={"head_dim": 8, "layers": 3}),
    "bart": bart.TINY.model_copy(update={"scaled": True, "decoder_heads": 4, "decoder_layers": 2}),
}
KINDS = ("prompt", "lstm", "mlp", "prefix", "mapped")


def theirs_of(kind, family):
    task = {"task_type": "SEQ_2_SEQ_LM" if two_sided(family) else "CAUSAL_LM", "num_virtual_tokens": P}
    if kind == "prompt":
        return peft.PromptTuningConfig(**task)
    if kind in ("lstm", "mlp"):
        return peft.PromptEncoderConfig(**task, encoder_hidden_size=8, encoder_reparameterization_type=kind.upper())
    maps = {"prefix_projection": True, "encoder_hidden_size": 8} if kind == "mapped" else {}
    return peft.PrefixTuningConfig(**task, **maps)


OURS = {
    "prompt": prompt.Config(length=P),
    "lstm": p_tuning.Config(length=P, hidden=8),
    "mlp": p_tuning.Config(length=P, encoder="mlp", hidden=8),
    "prefix": prefix.Config(length=P),
    "mapped": prefix.Config(length=P, hidden=8),
}


def two_sided(family):
    return family.startswith(("t5", "bart"))


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """The folder of a tiny model of each family."""
    place = tmp_path_factory.mktemp("bases")
    for name, config in FAMILIES.items():
        config = config.model_copy(update={"dropout": 0.0})
        folder.save(place / name, config, initialise(config.spec().build(), 1))
    return place


def base(place, family):
    kind = "AutoModelForSeq2SeqLM" if two_sided(family) else "AutoModelForCausalLM"
    return getattr(transformers, kind).from_pretrained(place / family, attn_implementation="eager").eval()


def said(twin, family):
    """Their logits of the text alone."""
    given = {"decoder_input_ids": IDS.flip(1)} if two_sided(family) else {}
    return twin(input_ids=IDS, attention_mask=torch.ones_like(IDS), **given).logits[:, -IDS.shape[1] :]


def says(model, family):
    """Ours."""
    return model(IDS.flip(1), memory=model.encode(IDS)) if two_sided(family) else model(IDS)


def trained(encoder):
    """The same with numbers in it that are not those it began with."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def twin_of(bases, kind, family):
    twin = peft.get_peft_model(base(bases, family), theirs_of(kind, family)).eval()
    trained(twin.prompt_encoder)
    return twin


def close(one, other):
    torch.testing.assert_close(one, other, atol=ATOL * max(1.0, other.abs().max().item()), rtol=0)


@pytest.mark.filterwarnings("ignore:.*does not say which weights.*")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_they_saved_computes_the_same(bases, tmp_path, kind, family):
    twin = twin_of(bases, kind, family)
    twin.save_pretrained(tmp_path)
    ours = viva.load(bases / family, adapter=tmp_path)
    assert ours.adapter.config.length == P
    with torch.no_grad():
        close(says(ours.model, family), said(twin, family))


@pytest.mark.filterwarnings("ignore:.*does not say which weights.*")
@pytest.mark.parametrize("family", ["llama", "gpt2", "t5-odd"])
@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_gradients_are_theirs(bases, tmp_path, kind, family):
    twin = twin_of(bases, kind, family)
    twin.save_pretrained(tmp_path)
    ours = viva.load(bases / family, adapter=tmp_path).model
    expected, found = said(twin, family), says(ours, family)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)) / 10
    (expected * weight).sum().backward()
    (found * weight).sum().backward()
    grad = twin.prompt_encoder["default"].embedding.weight.grad[:P]
    assert grad.abs().sum() > 0
    parts = grad.chunk(3, 1)
    if kind == "prefix" and two_sided(family):  # theirs gives layer l the part 2 l mod 3
        grad = torch.cat((parts[0], parts[2], parts[1]), 1)
    close(ours.adapter.vectors.weight.grad, grad)


@pytest.mark.parametrize("kind", ["lstm", "mlp", "mapped"])
def test_the_networks_that_make_vectors_are_theirs(bases, kind):
    """Their weights in ours: the same vectors, logits and gradients of every weight."""
    twin = twin_of(bases, kind, "gpt2")
    model = viva.load(bases / "gpt2").model
    adapt.attach(model, OURS[kind])
    pairs = {
        ours: twin.prompt_encoder["default"].get_parameter(
            ours.replace("vectors", "embedding")
            .replace("lstm", "lstm_head")
            .replace("mlp", "mlp_head")
            .replace("maps", "transform")
        )
        for ours, _ in model.adapter.named_parameters()
    }
    assert len(pairs) == len([*twin.prompt_encoder.parameters()])
    with torch.no_grad():
        for name, parameter in model.adapter.named_parameters():
            parameter.copy_(pairs[name])
    expected, found = said(twin, "gpt2"), model(IDS)
    close(found, expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)) / 10
    (expected * weight).sum().backward()
    (found * weight).sum().backward()
    for name, parameter in model.adapter.named_parameters():
        close(parameter.grad, pairs[name].grad)


@pytest.mark.filterwarnings("ignore:.*does not say which weights.*")
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "t5-odd", "bart"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_we_saved_opens_there(bases, tmp_path, kind, family):
    ours = viva.load(bases / family)
    adapt.attach(ours.model, OURS[kind])
    trained(ours.model.adapter)
    if kind in ("prefix", "mapped") and family == "bart":  # of layers an even number must be alike, two and two
        OURS[kind].folded(ours.model)
        first = ours.model.adapter.made().chunk(2, 1)[0]
        ours.model.adapter.put(torch.cat((first, first), 1))
    what = adapter.Adapter(config=OURS[kind], base=str(bases / family), fingerprint="")
    adapter.save_as_peft(tmp_path / "peft", ours.config, what, ours.model)
    twin = peft.PeftModel.from_pretrained(base(bases, family), tmp_path / "peft").eval()
    with torch.no_grad():
        expected = says(ours.model, family)
        close(said(twin, family), expected)
        close(says(viva.load(bases / family, adapter=tmp_path / "peft").model, family), expected)


def test_layers_that_they_give_one_prefix_must_have_one(bases, tmp_path):
    ours = viva.load(bases / "t5")
    adapt.attach(ours.model, OURS["prefix"])
    what = adapter.Adapter(config=OURS["prefix"], base=str(bases / "t5"), fingerprint="")
    with pytest.raises(Refusal, match=r"layers 1 apart must have one prefix for PEFT, .* but found one each"):
        adapter.save_as_peft(tmp_path / "peft", ours.config, what, ours.model)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"soft_start": 1}, "soft_start"),
        ({"num_virtual_tokens": 3}, "prompt_embeddings beside .* must be 3 vectors, .* but found 4"),
    ],
)
def test_keys_of_theirs_that_would_be_misread_are_refused(bases, tmp_path, change, message):
    twin_of(bases, "prompt", "llama").save_pretrained(tmp_path)
    said = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(said | change))
    with pytest.raises(Refusal, match=message):
        viva.load(bases / "llama", adapter=tmp_path)


def test_tensors_that_are_none_of_theirs_are_refused(bases, tmp_path):
    twin = peft.get_peft_model(base(bases, "llama"), peft.LoraConfig(target_modules=["q_proj"]))
    twin.save_pretrained(tmp_path)
    said = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}
    (tmp_path / "adapter_config.json").write_text(json.dumps(said))
    with pytest.raises(
        Refusal, match=r"must be prompt_embeddings, or of the base's head, but found model.model.layers.0"
    ):
        viva.load(bases / "llama", adapter=tmp_path)


@pytest.mark.filterwarnings("ignore:.*does not say which weights.*")
def test_a_prefix_of_another_model_is_refused(bases, tmp_path):
    twin_of(bases, "prefix", "llama").save_pretrained(tmp_path)
    with pytest.raises(Refusal, match=r"must be those of the adapter it names, but found adapter.vectors.weight"):
        viva.load(bases / "gpt2", adapter=tmp_path)


def test_a_prompt_whose_states_they_would_pool_is_refused(tmp_path):
    from viva.model.head import classify

    config = bert.TINY.model_copy(update={"head": classify.Config(labels=2)})
    folder.save(tmp_path / "base", config, initialise(config.spec().build(), 0))
    ours = viva.load(tmp_path / "base")
    adapt.attach(ours.model, OURS["prompt"])
    what = adapter.Adapter(config=OURS["prompt"], base=str(tmp_path / "base"), fingerprint="")
    with pytest.raises(
        Refusal, match="virtual tokens are pooled too, but found a head that pools the first of a text's"
    ):
        adapter.save_as_peft(tmp_path / "peft", ours.config, what, ours.model)


def test_a_class_that_reads_vectors_otherwise_than_ids_is_refused(tmp_path):
    config = marian.TINY
    folder.save(tmp_path / "base", config, initialise(config.spec().build(), 0))
    ours = viva.load(tmp_path / "base")
    adapt.attach(ours.model, OURS["prompt"])
    what = adapter.Adapter(config=OURS["prompt"], base=str(tmp_path / "base"), fingerprint="")
    with pytest.raises(Refusal, match="must read vectors as it reads ids for a prompt of PEFT's, but found marian's"):
        adapter.save_as_peft(tmp_path / "peft", ours.config, what, ours.model)


def test_that_their_base_is_ours_is_taken_on_trust(bases, tmp_path):
    twin_of(bases, "prompt", "gpt2").save_pretrained(tmp_path)
    with pytest.warns(Notice, match="does not say which weights it was made for"):
        viva.load(bases / "gpt2", adapter=tmp_path)
