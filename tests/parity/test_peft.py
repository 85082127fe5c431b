"""Adapters against their twins in PEFT, on tiny models of transformers in fp32: an adapter read from their files gives
the same logits and gradients as there, and what is written here PEFT opens.
"""

import peft
import pytest
import torch
import transformers

import viva
from shaken import shaken
from viva.base.errors import Notice, Refusal
from viva.model import adapt, adapter, folder
from viva.model.adapt import ia3, lora
from viva.model.arch import bert, gpt2, llama
from viva.model.init import initialise

FAMILIES = {"llama": llama, "gpt2": gpt2, "bert": bert}
TARGETS = {
    "llama": ["q_proj", "v_proj", "up_proj"],
    "gpt2": ["c_attn", "mlp.c_proj"],
    "bert": ["query", "value", "intermediate.dense"],
}
READ = {
    "llama": (["k_proj", "v_proj", "down_proj"], ["down_proj"]),
    "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    "bert": (["key", "value", "layer.0.output.dense"], ["layer.0.output.dense"]),
}
ATOL = 1e-6
IDS = torch.arange(2 * 9).reshape(2, 9) % 50


def config(kind, family, **more):
    if kind == "ia3":
        targets, read = READ[family]
        return peft.IA3Config(target_modules=targets, feedforward_modules=read)
    how = {"lora": {}, "rslora": {"use_rslora": True}, "dora": {"use_dora": True}}[kind]
    return peft.LoraConfig(r=4, lora_alpha=7, target_modules=TARGETS[family], **how, **more)


@pytest.fixture(autouse=True)
def _their_draws():
    """PEFT draws A by torch's own generator: the same in every run, for single precision is told to its last digits."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """The folder of a tiny model of each family."""
    place = tmp_path_factory.mktemp("bases")
    for name, family in FAMILIES.items():
        tiny = family.TINY.model_copy(update={"dropout": 0.0})
        folder.save(place / name, tiny, initialise(tiny.spec().build(), 1))
    return place


def theirs(place, family):
    made = transformers.AutoModelForMaskedLM if family == "bert" else transformers.AutoModelForCausalLM
    return made.from_pretrained(place / family, attn_implementation="eager").eval()


def close(one, other):
    torch.testing.assert_close(one, other, atol=ATOL * max(1.0, other.abs().max().item()), rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "ia3"])
def test_an_adapter_of_theirs_computes_the_same(bases, tmp_path, kind, family):
    twin = shaken(peft.get_peft_model(theirs(bases, family), config(kind, family)), 0.1)
    twin.save_pretrained(tmp_path)
    with pytest.warns(Notice, match="does not say which weights it was made for"):
        ours = viva.load(bases / family, adapter=tmp_path).model
    logits, expected = ours(IDS), twin(IDS).logits
    close(logits, expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (expected * weight).sum().backward()
    (logits * weight).sum().backward()
    mine = {name: parameter.grad for name, parameter in ours.named_parameters() if parameter.requires_grad}
    found = {name: parameter.grad for name, parameter in twin.named_parameters() if parameter.requires_grad}
    assert sum(grad.square().sum() for grad in mine.values()) > 0
    for name, grad in found.items():
        close(gathered(mine, name, family), grad)


PIECES = {  # of theirs, ours
    "q_proj": ["attention.qkv.adapter.parts.q"],
    "k_proj": ["attention.qkv.adapter.parts.k"],
    "v_proj": ["attention.qkv.adapter.parts.v"],
    "up_proj": ["ffn.gate_up.adapter.parts.up"],
    "down_proj": ["ffn.down.adapter.parts.down"],
    "c_attn": [f"attention.qkv.adapter.parts.{part}" for part in "qkv"],
    "mlp.c_proj": ["ffn.down.adapter.parts.down"],
    "query": ["attention.qkv.adapter.parts.q"],
    "key": ["attention.qkv.adapter.parts.k"],
    "value": ["attention.qkv.adapter.parts.v"],
    "intermediate.dense": ["ffn.up.adapter.parts.up"],
    "output.dense": ["ffn.down.adapter.parts.down"],
}
LEAVES = {"lora_A": "a", "lora_B": "b", "lora_magnitude_vector": "m", "ia3_l": "l"}


def gathered(mine, name, family):
    """Our gradient of a tensor of theirs: of a shared A the sum over the pieces that have a copy of it."""
    layer = name.split("layers." if family == "llama" else "h." if family == "gpt2" else "layer.")[1].split(".")[0]
    stack = "encoder" if family == "bert" else "decoder"
    module = next(module for module in PIECES if f".{module}." in name)
    leaf = next(LEAVES[theirs] for theirs in LEAVES if f".{theirs}." in name)
    grads = [mine[f"{stack}.layers.{layer}.{piece}.{leaf}"] for piece in PIECES[module]]
    if leaf == "a":
        return sum(grads)
    grad = torch.cat(grads)
    return (
        grad if leaf != "l" else grad[None] if module in ("down_proj", "mlp.c_proj", "output.dense") else grad[:, None]
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "ia3"])
def test_an_adapter_of_ours_opens_there(bases, tmp_path, kind, family):
    """With pieces of a joined map changed alone: of gpt2's c_attn q and v."""
    made = {
        "lora": lora.Config(rank=3, targets=("attention.q", "attention.v", "0.ffn.down")),
        "rslora": lora.Config(rank=3, stabilised=True, targets=("attention.q", "attention.v", "0.ffn.down")),
        "dora": lora.Config(rank=3, directed=True, targets=("attention.q", "attention.v", "0.ffn.down")),
        "ia3": ia3.Config(),
    }[kind]
    ours = viva.load(bases / family)
    adapt.attach(ours.model, made)
    shaken(ours.model, 0.1)
    what = adapter.Adapter(config=made, base=str(bases / family), fingerprint="")
    adapter.save_as_peft(tmp_path / "peft", ours.config, what, ours.model)
    twin = peft.PeftModel.from_pretrained(theirs(bases, family), tmp_path / "peft").eval()
    with torch.no_grad():
        close(ours.model(IDS), twin(IDS).logits)
    back = viva.load(bases / family, adapter=tmp_path / "peft")
    with torch.no_grad():
        close(back.model(IDS), ours.model(IDS))


def test_a_merged_model_of_theirs_and_ours_agree(bases, tmp_path):
    twin = shaken(peft.get_peft_model(theirs(bases, "llama"), config("dora", "llama")), 0.1)
    twin.save_pretrained(tmp_path / "adapter")
    viva.load(bases / "llama", adapter=tmp_path / "adapter").merged().save(tmp_path / "merged")
    expected = twin.merge_and_unload()
    found = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    for name, parameter in expected.named_parameters():
        close(found.get_parameter(name), parameter)


@pytest.mark.filterwarnings("ignore:.*does not say which weights")
@pytest.mark.parametrize("directed", [False, True])
def test_that_a_base_was_in_4_bits_is_said_and_how_to_have_it(bases, tmp_path, directed):
    """Their files compute the same on a base of the weights that the 4 bits stand for, on the plain one not."""
    kept = lora.Config(rank=4, alpha=7.0, quantize="nf4", directed=directed)
    model = qlora(bases / "llama", kept, tmp_path / "ours")
    with pytest.warns(Notice, match="the base of this adapter was in 4 bits.* `viva merge` .*bnb_4bit_quant_type"):
        model.save(tmp_path / "peft", peft=True)
    nothing = qlora(bases / "llama", lora.Config(rank=4, quantize="nf4"), tmp_path / "nothing", shake=False)
    nothing.merged().save(tmp_path / "stood-for")
    model.merged().save(tmp_path / "merged")
    with torch.no_grad():
        expected, merged = model(IDS), theirs(tmp_path, "merged")(IDS).logits
        packed, plain = (
            peft.PeftModel.from_pretrained(theirs(place, name), tmp_path / "peft")(IDS).logits
            for place, name in ((tmp_path, "stood-for"), (bases, "llama"))
        )
    close(packed, expected)
    close(merged, expected)
    assert (plain - expected).abs().max() > 1e-2


def qlora(base, kept, place, shake=True):
    """A model with such an adapter, kept in the folder `place`; one that is not shaken computes what its base does."""
    loaded = folder.load(base)
    adapt.attach(loaded.model, kept)
    if shake:
        shaken(loaded.model, 0.1)
    what = adapter.Adapter(config=kept, base=str(base), fingerprint=adapter.fingerprint(base))
    adapter.save(place, what, loaded.model)
    return viva.load(base, adapter=place)


def test_ranks_and_alphas_of_their_own_become_one(bases, tmp_path):
    patterns = {"rank_pattern": {"layers.0.self_attn.q_proj": 2}, "alpha_pattern": {"v_proj": 3}}
    twin = shaken(peft.get_peft_model(theirs(bases, "llama"), config("lora", "llama", **patterns)), 0.1)
    twin.save_pretrained(tmp_path)
    with torch.no_grad():
        close(viva.load(bases / "llama", adapter=tmp_path).model(IDS), twin(IDS).logits)


def test_a_key_of_theirs_that_is_not_known_is_refused(bases, tmp_path):
    peft.get_peft_model(theirs(bases, "llama"), config("lora", "llama", bias="all")).save_pretrained(tmp_path)
    with pytest.raises(Refusal, match=r"bias in .*adapter_config.json must be 'none', but found 'all'"):
        viva.load(bases / "llama", adapter=tmp_path)


def test_their_adapter_of_another_model_is_refused(bases, tmp_path):
    peft.get_peft_model(theirs(bases, "llama"), config("lora", "llama")).save_pretrained(tmp_path)
    with pytest.raises(
        Refusal, match=r"must be of linear maps in the model's blocks, .*but found model.layers.0.mlp.up_proj"
    ):
        viva.load(bases / "gpt2", adapter=tmp_path)


def test_a_kind_that_they_have_not_is_refused(bases, tmp_path):
    twin = peft.get_peft_model(theirs(bases, "llama"), peft.LNTuningConfig(target_modules=["input_layernorm"]))
    twin.save_pretrained(tmp_path)
    with pytest.raises(Refusal, match=r"peft_type in .* must be known, but found 'LN_TUNING'"):
        viva.load(bases / "llama", adapter=tmp_path)
