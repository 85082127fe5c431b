"""A grown vocabulary: new rows are the mean of their pieces', everything else is as it was, bit for bit."""

import json
import re

import pytest
import tokenizers
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

import viva
from viva.api import LanguageModel
from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.model.folder import FAMILIES
from viva.model.grow import grow
from viva.model.init import initialise
from viva.text.tokens import grow as text_grow
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

TEXTS = ["The quick brown fox doesn't mind. import torch as numpy\n" * 3, "语言模型把文本切成词元。\n" * 3]
READERS = [name for name in names(FAMILIES) if getattr(variant(FAMILIES, name).TINY, "vocab", None)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_bpe.train(TEXTS, byte_bpe.Config(vocab_size=300))


def built(family: str, vocab: int, **changed):
    config = variant(FAMILIES, family).TINY.model_copy(update={"vocab": vocab, **changed})
    return config, initialise(config.spec().build().eval())


def outputs(model, ids):
    if model.encoder is not None and model.decoder is not None:
        return model(ids, memory=model.encode(ids))
    return model(ids)


@pytest.mark.parametrize("family", READERS)
def test_every_family_keeps_what_it_says_of_old_tokens(family):
    """Tied and untied heads, factorised tables, biases, recurrent baselines."""
    config, model = built(family, 64)
    if (bias := getattr(model.head, "bias", None)) is not None:
        bias.data.normal_()
    new = {64: [3, 5, 6], 65: [9]}
    config, grown = grow(config, model, new)
    ids = torch.arange(10, 40).view(2, 15)
    with torch.no_grad():
        before, after = outputs(model, ids), outputs(grown, ids)
    table = model.embedding.weight
    assert grown.embedding.weight.shape == (66, table.shape[1])
    torch.testing.assert_close(grown.embedding.weight[64], (table[3] + table[5] + table[6]) / 3)
    assert torch.equal(grown.embedding.weight[65], table[9]) and torch.equal(grown.embedding.weight[:64], table)
    for name, tensor in model.state_dict().items():
        assert torch.equal(grown.state_dict()[name][: len(tensor)] if tensor.ndim else tensor, tensor), name
    scores = before.shape[-1] == 64
    torch.testing.assert_close(after[..., :64] if scores else after, before, rtol=0, atol=1e-6)
    if (
        scores and getattr(config.spec().head, "cap", None) is None
    ):  # linear in the rows: the mean of the pieces' scores
        torch.testing.assert_close(after[..., 64], before[..., [3, 5, 6]].mean(-1), rtol=1e-4, atol=1e-5)
        assert torch.allclose(after[..., 65], before[..., 9], atol=1e-6)


def test_logits_of_old_tokens_are_bit_for_bit_the_same(tokenizer):
    config, model = built("llama", tokenizer.vocab_size)
    _, grown = grow(config, model, {tokenizer.vocab_size: [1, 2]})
    ids = torch.tensor([tokenizer.encode(TEXTS[0])[:40]])
    assert torch.equal(grown(ids)[..., : tokenizer.vocab_size], model(ids))


def test_rows_that_no_token_has_are_used_first():
    """A vocabulary padded to a round number: the matrix keeps its size."""
    config, model = built("gpt2", 64)
    config, grown = grow(config, model, {60: [1, 2], 61: [3]})
    assert config.vocab == 64 and torch.equal(grown.embedding.weight[61], model.embedding.weight[3])
    assert torch.equal(grown.embedding.weight[62:], model.embedding.weight[62:])


def test_an_image_model_has_no_vocabulary():
    config = variant(FAMILIES, "vit").TINY
    with pytest.raises(Refusal, match="must read text to have more tokens, but found one that reads images"):
        grow(config, config.spec().build(), {1: [0]})


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    config, model = built("llama", tokenizer.vocab_size)
    path = tmp_path_factory.mktemp("model") / "small"
    LanguageModel(config, model, tokenizer, "none").save(path)
    return path


def test_a_grown_model_opens_with_transformers_and_says_what_was_added(folder, tmp_path):
    model = viva.load(folder)
    grown = model.grown(["torch", "词元"], special=["<|tool|>"])
    grown.save(tmp_path / "grown")
    theirs, words = (each.from_pretrained(tmp_path / "grown") for each in (AutoModelForCausalLM, AutoTokenizer))
    text = "import torch 词元<|tool|>"
    ids = words.encode(text, split_special_tokens=True, add_special_tokens=False)
    assert viva.load(tmp_path / "grown").tokenizer.encode(text) == ids
    assert {300, 301} <= set(ids) and 302 not in ids and words.convert_tokens_to_ids("<|tool|>") == 302
    pieces = model.tokenizer.encode("torch")
    row = theirs.get_input_embeddings().weight[300]
    torch.testing.assert_close(row, model.model.embedding.weight[pieces].mean(0))
    torch.testing.assert_close(theirs(torch.tensor([ids])).logits, grown(torch.tensor([ids])), rtol=1e-4, atol=1e-5)
    said = json.loads((tmp_path / "grown" / "viva.json").read_text())
    assert said["added"] == {"torch": 300, "词元": 301, "<|tool|>": 302} and said["parent"] == str(folder)


def test_an_added_token_is_part_of_the_fingerprint(tokenizer):
    more = text_grow.grow(tokenizer, text_grow.Config(tokens=("zzzzz",))).tokenizer
    assert more.fingerprint.probe == tokenizer.fingerprint.probe
    with pytest.raises(Refusal, match=r"its added must be \{'zzzzz': 300\}, but found \{\}"):
        more.fingerprint.require(tokenizer.fingerprint, "runs/x")
    old = tokenizer.fingerprint.model_copy(update={"added": None})
    old.require(tokenizer.fingerprint, "an older checkpoint")


def test_a_folder_of_another_form_has_its_tokenizer(folder, tokenizer, tmp_path):
    """As GPT-2's first folders were: vocab.json and merges.txt beside the model, and no tokenizer.json."""
    config, model = built("gpt2", tokenizer.vocab_size)
    LanguageModel(config, model, None, "none").save(tmp_path / "gpt2")
    with pytest.raises(Refusal, match="a model must have its tokenizer"):
        viva.load(tmp_path / "gpt2").tokenizer  # noqa: B018
    parts = json.loads(tokenizer.core.to_str())["model"]
    (tmp_path / "gpt2" / "vocab.json").write_text(json.dumps(parts["vocab"]))
    (tmp_path / "gpt2" / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in parts["merges"]))
    assert viva.load(tmp_path / "gpt2").tokenizer.decode(viva.load(tmp_path / "gpt2").tokenizer.encode("é a")) == "é a"
    (tmp_path / "gpt2" / "merges.txt").write_text("a b c\n")
    with pytest.warns(Notice, match=r"is loaded without its tokenizer: .*merges\.txt must hold two tokens a line"):
        viva.load(tmp_path / "gpt2")


REFUSED = {
    "by name": (["the quick", "a"], "must be new, but found 'a', which has the id"),
    "by its text": ([" tor"], "must be new, but found ' tor', which has the id"),
    "empty": ([""], "must have characters, but found ''"),
    "blank": (["  "], "must have characters, but found '  '"),
    "twice": (["abc", "abc"], "must be added once, but found 'abc' twice"),
    "none": ([], "there must be tokens to add, but found none"),
    "surrogate": (["\ud800"], "a token must have whole Unicode characters"),
    "read as bytes": (
        ["naïve"],
        "vocabulary must decode to itself, but found 'naïve', whose characters all",
    ),
    "special": (["<|pad|>"], "must be new, but found '<|pad|>', which has the id 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tokens_that_cannot_be_added(folder, case):
    tokens, says = REFUSED[case]
    with pytest.raises(Refusal, match=re.escape(says)):
        viva.load(folder).grown(tokens)


@pytest.mark.parametrize("token", ["naïve €", " naïve", "词元", "naive!"])
def test_what_can_be_added_to_a_byte_level_vocabulary_decodes_to_itself(tokenizer, token):
    grown = text_grow.grow(tokenizer, text_grow.Config(tokens=(token,))).tokenizer
    text = f"a {token}b"
    assert grown.id(token) in grown.encode(text) and grown.decode(grown.encode(text)) == text
    assert grown.decode_bytes(grown.encode(text)) == text.encode()


def test_a_file_whose_added_token_is_read_as_bytes_is_told_of(tokenizer, tmp_path):
    core = tokenizers.Tokenizer.from_str(tokenizer.core.to_str())
    core.add_tokens(["naïve", "词元"])
    Tokenizer(core, tokenizer.config).save(tmp_path)
    with pytest.warns(Notice, match="decoding takes added tokens for bytes, here and in transformers: 'naïve'$"):
        loaded = Tokenizer.load(tmp_path)
    twin = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.decode([loaded.id("naïve")]) == twin.decode([loaded.id("naïve")]) == "na\ufffdve"


def test_a_token_of_unknown_pieces_is_said(tmp_path):
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\n")
    words = Tokenizer.load(tmp_path, do_lower_case=True)
    with pytest.warns(
        Notice, match=r"'我' was in part unknown to the tokenizer; its vector begins from that of \[UNK\]"
    ):
        assert text_grow.grow(words, text_grow.Config(tokens=("我",))).pieces == {4: [0]}


def test_an_added_token_is_read_as_texts_are_and_a_special_one_to_the_letter(tmp_path):
    """In lower case where texts are."""
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\nn\n##a\n##s\n")
    words = Tokenizer.load(tmp_path, do_lower_case=True)
    grown = text_grow.grow(words, text_grow.Config(tokens=("NASA",), special=("NAS",)))
    assert grown.pieces == {6: [3, 4, 5, 4], 7: [3, 4, 5]}
    assert grown.tokenizer.encode("nasa") == grown.tokenizer.encode("Nasa") == [6]
    assert [each.ids for each in grown.tokenizer.encode_marked(["NAS", "nas"])] == [[7], [3, 4, 5]]


def test_a_recipe_adds_tokens_trains_them_and_goes_on(folder, tmp_path):
    (tmp_path / "text.txt").write_text(TEXTS[0] * 40)
    changed = {
        "out": str(tmp_path / "run"),
        "init": str(folder),
        "add_tokens": {"tokens": ["torch"], "special": ["<|tool|>"]},
        "data": {"kind": "files", "path": str(tmp_path / "text.txt")},
        "valid": 0,
        "train": {"steps": 2, "batch": 64, "context": 32, "lr": 0.01, "device": "cpu"},
    }
    from viva.base.config import parse
    from viva.train.recipe import Recipe
    from viva.train.run import run

    recipe = parse(Recipe, changed, name="recipe")
    run(recipe)
    said = json.loads(next((tmp_path / "run" / "checkpoints").glob("step-*/viva.json")).read_text())
    assert said["added"] == {"torch": 300, "<|tool|>": 301} and said["tokenizer"]["added"] == {"torch": 300}
    model = viva.load(tmp_path / "run")
    assert 300 in model.tokenizer.encode("import torch") and model.spec.vocab == 302
    before = viva.load(folder).model.embedding.weight[viva.load(folder).tokenizer.encode("torch")].mean(0)
    assert not torch.allclose(model.model.embedding.weight[300], before, atol=1e-4)  # it was trained
    assert run(recipe).finished  # what is there is taken up, and not grown again
    with pytest.raises(Refusal, match="add_tokens grows the vocabulary of `init`"):
        parse(Recipe, {**changed, "tokenizer": str(folder)}, name="recipe")
