"""The checkpoint folder: what it refuses, and that sharded and prefix-less folders load all the same."""

import json
import re

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.model import folder, tensors
from viva.model.arch import bart, bert, gpt2, llama, marian, roberta, t5, vit
from viva.model.arch._family import Keys
from viva.model.head import classify
from viva.model.init import initialise
from viva.model.position import rope
from viva.model.position.scaling import linear
from viva.model.spec import Attention
from viva.model.transformer import Transformer
from viva.text.tokens.tokenizer import Tokenizer

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
        (
            {"model_type": "clip"},
            r"but found 'clip'. To fix it, save one side of it by transformers, CLIPTextModelWith",
        ),
        ({"model_type": ["llama"]}, r"must be a known family, but found \['llama'\]"),
        ({"rms_norm_eps": -1.0}, r"eps: Input should be greater than 0 \(given -1\.0\)"),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}},
            "rope_scaling and rope_parameters in .* must not contradict each other, but found rope_type 'linear' and "
            "'default'. To fix it, remove the one that is wrong",
        ),
        ({"num_key_value_heads": 3}, "kv_heads must divide heads, but found 3 for 4 heads"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(saved, changes, expected):
    edit(saved, **changes)
    assert re.search(expected, refusal(saved))


def test_sections_of_rope_that_say_the_same(saved):
    """As a file that two versions of transformers are to read."""
    older, newer = {"type": "linear", "factor": 2.0}, {"rope_type": "linear", "rope_theta": 500.0, "factor": None}
    edit(saved, rope_scaling=older, rope_parameters=newer)
    assert folder.load(saved).config.position == rope.Config(theta=500.0, scaling=linear.Config(factor=2.0))


@pytest.mark.parametrize(
    ("config", "changes", "expected"),
    [
        (bert.TINY, {"architectures": 3}, "architectures in .* must be a list, but found 3"),
        (bert.TINY, {"id2label": 3}, "id2label in .* must hold keys of its own, but found 3"),
        (bert.TINY, {"layer_norm_eps": 0}, "eps: Input should be greater than 0"),
        (t5.TINY, {"is_encoder_decoder": False}, "is_encoder_decoder in .* must be True, but found False"),
    ],
)
def test_a_key_of_another_form_is_refused(config, changes, expected, tmp_path):
    folder.save(tmp_path / "m", config, initialise(Transformer(config.spec())))
    (tmp_path / "m" / "viva.json").unlink()
    edit(tmp_path / "m", **changes)
    assert re.search(expected, refusal(tmp_path / "m"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            bert.TINY.model_copy(update={"activation": "relu2"}),
            "BERT and its kin must have a name for .* found 'relu2'",
        ),
        (bart.TINY.model_copy(update={"activation": "relu2"}), "of BART and Marian must have a name .* found 'relu2'"),
        (t5.TINY.model_copy(update={"activation": "relu2"}), r"of t5 must have a name .* found \(False, 'relu2'\)"),
        (vit.TINY.model_copy(update={"activation": "tanh"}), "of ViT and CLIP must have a name .* found 'tanh'"),
    ],
)
def test_what_a_family_has_no_name_for_is_refused_before_it_is_trained(config, expected):
    with pytest.raises(Refusal, match=expected):
        folder.require_savable(config, Transformer(config.spec()))


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


def test_sinusoids_in_a_file_must_be_those_that_are_computed(tmp_path):
    """transformers reads them from the file."""
    folder.save(tmp_path / "m", marian.TINY, initialise(Transformer(marian.TINY.spec())))
    (tmp_path / "m" / "viva.json").unlink()
    file, name = tmp_path / "m" / "model.safetensors", "model.decoder.embed_positions.weight"
    table = transformers.MarianMTModel.from_pretrained(tmp_path / "m").state_dict()[name]
    once = load_file(file)
    for dtype in (torch.float32, torch.float16):
        save_file({name: tensor.to(dtype) for name, tensor in {**once, name: table}.items()}, file)
        folder.load(tmp_path / "m")
    save_file({**once, name: table + 1e-3}, file)
    assert re.search(f"{name} in .* must be what the model computes, but found other values", refusal(tmp_path / "m"))


def test_names_that_two_classes_share_name_none(tmp_path):
    config = bert.TINY.model_copy(update={"head": classify.Config(labels=3)})
    folder.save(tmp_path / "m", config, initialise(Transformer(config.spec())))
    (tmp_path / "m" / "viva.json").unlink()
    edit(tmp_path / "m", id2label={"0": "a", "1": "b", "2": "c"})
    assert folder.load(tmp_path / "m").labels == ("a", "b", "c")
    edit(tmp_path / "m", id2label={"0": "a", "1": "a", "2": "c"})
    assert folder.load(tmp_path / "m").labels is None


def test_an_untied_matrix_makes_room_for_another_head(saved):
    with pytest.warns(Notice, match=r"holds a head that this model has not: lm_head\.weight are left out"):
        loaded = folder.load(saved, head=lambda config: classify.Config(labels=2, pool="last"))
    assert loaded.model.spec.head.labels == 2


def test_a_family_that_is_always_tied_says_so(tmp_path):
    folder.save(tmp_path / "m", bert.TINY, initialise(Transformer(bert.TINY.spec())))
    (tmp_path / "m" / "viva.json").unlink()
    file = tmp_path / "m" / "model.safetensors"
    once = load_file(file)
    save_file({**once, "cls.predictions.decoder.weight": once["bert.embeddings.word_embeddings.weight"] + 1}, file)
    assert "To fix it, use a model of this family whose embeddings are tied" in refusal(tmp_path / "m")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"x": 1}, r"the tokenizer of .*viva\.json must match its schema, but found .*unknown key 'x'"),
        (
            {"normalizer": "", "merges": "", "specials": {}, "roles": {}, "probe": [], "template": None},
            "must hold the tokenizer that it was made with, but found no tokenizer.json",
        ),
    ],
)
def test_a_tokenizer_that_is_spoken_of_must_be_there(saved, said, expected):
    (saved / "viva.json").write_text(json.dumps({"tokenizer": said}))
    assert re.search(expected, refusal(saved))


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
