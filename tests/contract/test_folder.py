"""The checkpoint folder: what it refuses, and that sharded and prefix-less folders load all the same."""

import json
import re

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.model import folder, tensors
from viva.model.arch import gpt2, llama, roberta
from viva.model.arch._family import Keys
from viva.model.init import initialise
from viva.model.spec import Attention
from viva.model.transformer import Transformer
from viva.text.tokenizer import Tokenizer

TIED = llama.TINY.model_copy(update={"tied": True})


@pytest.fixture
def saved(tmp_path):
    model = initialise(Transformer(llama.TINY.spec()))
    folder.save(tmp_path / "m", llama.TINY, model)
    (tmp_path / "m" / "viva.json").unlink()  # as a folder from elsewhere, whose files may be edited
    return tmp_path / "m"


def edit(path, **changes):
    hf = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps({key: value for key, value in hf.items() if value != "absent"}))


def refusal(path) -> str:
    with pytest.raises(Refusal) as caught:
        folder.load(path)
    return str(caught.value)


@pytest.mark.parametrize("name", names("viva.model.arch"))
def test_every_family_round_trips_bit_for_bit(name, tmp_path):
    config = variant("viva.model.arch", name).TINY
    model = initialise(config.spec().build(), seed=3).bfloat16()
    folder.save(tmp_path / "m", config, model)
    loaded = folder.load(tmp_path / "m")
    assert loaded.config.spec() == config.spec()
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[key]) and tensor.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "lama"}, "must be a known family, but found 'lama'. To fix it, load a model of type 'llama'"),
        ({"rope_scaling": {"rope_type": "yearn", "factor": 2.0}}, "rope_type in .* must be known, but found 'yearn'"),
        ({"rope_scaling": {"rope_type": "linear", "factr": 2.0}}, "rope fields of linear in .* must be known"),
        (
            {"rope_scaling": {"rope_type": "linear"}},
            "rope fields of linear in .* must all be there, but found no factor",
        ),
        ({"attention_sink": True}, "every key of .* must be understood, but found attention_sink=True"),
        ({"hidden_act": "gelu"}, "hidden_act in .* must be 'silu', but found 'gelu'"),
        ({"hidden_size": "absent"}, "must have the key hidden_size"),
        ({"num_hidden_layers": 3}, "missing: model.layers.2.input_layernorm.weight"),
        ({"num_hidden_layers": 1}, "unexpected: model.layers.1.input_layernorm.weight"),
        ({"intermediate_size": 64}, r"but found \(48, 32\) for .*, where config.json asks for \(64, 32\)"),
        ({"tie_word_embeddings": True}, "tied embeddings in .* must be one matrix"),
        ({"num_key_value_heads": 3}, "kv_heads must divide heads, but found 3 for 4 heads"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(saved, changes, expected):
    edit(saved, **changes)
    assert re.search(expected, refusal(saved))


def test_pickles_and_absent_weights_are_refused(saved):
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    assert "weights must be safetensors" in refusal(saved) and "pytorch_model.bin" in refusal(saved)
    (saved / "pytorch_model.bin").unlink()
    assert "must hold model.safetensors" in refusal(saved)


def test_a_cut_file_is_refused(saved):
    content = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(content[:-8])
    assert "must be an intact safetensors file" in refusal(saved)


def test_shards_with_an_index_load(tmp_path):
    model = initialise(Transformer(llama.TINY.spec()))
    (tmp_path / "m").mkdir()
    folder.save(tmp_path / "whole", llama.TINY, model)
    (tmp_path / "m" / "config.json").write_text((tmp_path / "whole" / "config.json").read_text())
    tensors.save(tmp_path / "m", llama, model, shard="10KB")
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 2
    loaded = folder.load(tmp_path / "m").model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())
    index = tmp_path / "m" / "model.safetensors.index.json"
    listed = json.loads(index.read_text())
    del listed["weight_map"]["model.norm.weight"]
    index.write_text(json.dumps(listed))
    assert "must list what its shards hold, but found model.norm.weight" in refusal(tmp_path / "m")


def test_a_folder_without_the_base_prefix_loads(tmp_path):
    """GPT-2's own files say `wte.weight`, and carry the causal mask as a tensor."""
    model = initialise(Transformer(gpt2.TINY.spec()))
    folder.save(tmp_path / "m", gpt2.TINY, model)
    (tmp_path / "m" / "viva.json").unlink()
    file = tmp_path / "m" / "model.safetensors"
    bare = {key.removeprefix("transformer."): value for key, value in load_file(file).items()}
    save_file({**bare, "h.0.attn.bias": torch.ones(1)}, file)
    loaded = folder.load(tmp_path / "m").model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def test_tied_weights_are_saved_once(tmp_path):
    folder.save(tmp_path / "m", TIED, initialise(Transformer(TIED.spec())))
    assert "lm_head.weight" not in load_file(tmp_path / "m" / "model.safetensors")


def test_the_reasons_for_ignored_keys_are_kept(saved):
    edit(saved, transformers_version="9", use_cache=True)
    ignored = folder.load(saved).ignored
    assert ignored["transformers_version"] == "says who wrote the file" and "use_cache" in ignored


def test_impossible_specs_are_refused():
    with pytest.raises(Refusal, match="kv_heads must divide heads, but found 3 for 8 heads"):
        Attention(heads=8, kv_heads=3, head_dim=4)
    with pytest.raises(Refusal, match="position learned must be given where it acts, on embeddings"):
        Attention(heads=8, kv_heads=8, head_dim=4, position="learned")
    with pytest.raises(Refusal, match="heads must divide width, but found 3 heads for width 32"):
        llama.TINY.model_copy(update={"heads": 3, "kv_heads": 3, "head_dim": None}).spec()


def test_weights_that_are_no_numbers_or_not_of_one_dtype(saved):
    """transformers would load them. Attention's kernel hides a NaN in the queries; joined matrices share a dtype."""
    good = load_file(saved / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    for bad, expected in (
        (good[name] * torch.nan, "must be finite, but found NaN or infinity in .*attention.q.weight"),
        (good[name].to(torch.int32), "must be floating-point numbers, but found others in .*attention.q.weight"),
        (good[name].bfloat16(), "must have one dtype, but found bfloat16, float32. To fix it, load it with one"),
    ):
        save_file({**good, name: bad}, saved / "model.safetensors", metadata={"format": "pt"})
        assert re.search(expected, refusal(saved))
    assert folder.load(saved, torch.float32).model.embedding.weight.dtype == torch.float32


def test_the_one_file_comes_before_the_shards(saved):
    """As in transformers: an index left over from an earlier save is not read."""
    before = load_file(saved / "model.safetensors")["model.norm.weight"]
    stale = {name: torch.zeros_like(tensor) for name, tensor in load_file(saved / "model.safetensors").items()}
    save_file(stale, saved / "old.safetensors", metadata={"format": "pt"})
    index = {"weight_map": dict.fromkeys(stale, "old.safetensors")}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(folder.load(saved).model.decoder.norm.weight, before)


def has_twin(name: str) -> bool:
    return variant("viva.model.arch", name).MODEL_TYPE in transformers.CONFIG_MAPPING


@pytest.mark.parametrize("name", [name for name in names("viva.model.arch") if has_twin(name)])
def test_a_key_left_out_means_what_it_means_to_transformers(name):
    """Each key of config.json in turn: ours without it is ours with what transformers fills in, or a refusal."""
    family = variant("viva.model.arch", name)
    large = {"layers": 32, "window": 8, "full_layers": 28, "kv_heads": 4, "heads": 32, "head_dim": 8, "width": 192}
    fields = type(family.TINY).model_fields
    config = family.TINY.model_copy(update={key: value for key, value in large.items() if key in fields})
    whole, compared = {"model_type": family.MODEL_TYPE, **family.to_hf(config)}, 0
    for key in set(whole) - {"model_type"}:
        rest = {k: v for k, v in whole.items() if k != key}
        filled = transformers.CONFIG_MAPPING[family.MODEL_TYPE](**rest).to_dict()
        try:
            found = family.from_hf(Keys({k: v for k, v in rest.items() if k != "model_type"})).spec()
        except Refusal:
            continue
        compared += 1
        assert found == family.from_hf(Keys({k: v for k, v in filled.items() if k != "model_type"})).spec(), key
    assert compared >= 3


def test_roberta_counts_from_its_padding_token(tmp_path):
    """transformers takes the first place from pad_token_id, which the tokenizer must then have too."""
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "word": 1}, "[PAD]"))
    tokenizer = Tokenizer(core, {"pad_token": "[PAD]"})
    with pytest.raises(Refusal, match=r"pad_token_id 1, but found 0\. To fix it, build the model with pad: 0"):
        folder.save(tmp_path / "m", roberta.TINY, initialise(Transformer(roberta.TINY.spec())), tokenizer)
    config = roberta.TINY.model_copy(update={"pad": 0})
    folder.save(tmp_path / "m", config, initialise(Transformer(config.spec())), tokenizer)
    said = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (said["pad_token_id"], said["max_position_embeddings"]) == (0, config.context + 1)


def test_a_bias_that_a_file_holds_twice(tmp_path):
    model = initialise(Transformer(roberta.TINY.spec()))
    folder.save(tmp_path / "m", roberta.TINY, model)
    (tmp_path / "m" / "viva.json").unlink()
    file = tmp_path / "m" / "model.safetensors"
    once = load_file(file)
    save_file({**once, "lm_head.decoder.bias": once["lm_head.bias"].clone()}, file)
    assert torch.equal(folder.load(tmp_path / "m").model.head.bias, model.head.bias)
    save_file({**once, "lm_head.decoder.bias": once["lm_head.bias"] + 1}, file)
    assert re.search(r"lm_head\.decoder\.bias and lm_head\.bias in .* must be one tensor", refusal(tmp_path / "m"))
