"""Folders of sentence-transformers: what their files mean, what is refused, and what we write."""

import json

import pytest
import tokenizers
import torch
import transformers
from tokenizers.processors import TemplateProcessing

import viva
from viva.base import choice
from viva.base.errors import Refusal
from viva.model import folder
from viva.model.arch import bert, llama
from viva.model.head import classify, embed, none, regress, similar, span, tag
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.transformer import Transformer
from viva.text.cache.documents import Documents
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "sat", "on", "a", "mat", "and", "slept"]
CONFIG = bert.TINY.model_copy(update={"vocab": len(WORDS), "context": 12, "head": embed.Config()})
CLASSES = classify.Config(labels=3, pool="mean", dense="tanh")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return Tokenizer(core, roles)


@pytest.fixture
def saved(tokenizer, tmp_path):
    model = initialise(Transformer(CONFIG.spec()), seed=1)
    folder.save(tmp_path / "m", CONFIG, model, tokenizer)
    return tmp_path / "m"


def edit(path, change) -> None:
    """Change a JSON file of a folder that is then one from elsewhere."""
    (path.parent / "viva.json").unlink(missing_ok=True)
    (path.parent.parent / "viva.json").unlink(missing_ok=True)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("pool", ["first", "last", "mean", "max"])
def test_a_saved_encoder_keeps_its_pooling(pool, normalised, tmp_path):
    config = CONFIG.model_copy(update={"head": embed.Config(pool=pool, normalised=normalised)})
    model = initialise(Transformer(config.spec()), seed=1)
    folder.save(tmp_path / "m", config, model)
    assert json.loads((tmp_path / "m" / "config.json").read_text())["architectures"] == ["BertModel"]
    loaded = folder.load(tmp_path / "m")
    assert loaded.config.spec() == config.spec()
    ids = torch.tensor([[2, 4, 5, 3]])
    assert torch.equal(loaded.model(ids), model.eval()(ids))


# what sentence-transformers writes: {its version: 1_Pooling/config.json}, each with the pool it means
POOLINGS = {
    "2.0 mean": ({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}, "mean"),
    "2.0 cls": (
        {
            "word_embedding_dimension": 32,
            "pooling_mode_cls_token": True,
            "pooling_mode_mean_tokens": False,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "first",
    ),
    "3.0 last": ({"word_embedding_dimension": 32, "pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
    "6.2 max": ({"embedding_dimension": 32, "pooling_mode": "max", "include_prompt": True}, "max"),
}


@pytest.mark.parametrize("version", POOLINGS)
def test_each_versions_pooling_is_read(saved, version):
    written, pool = POOLINGS[version]
    edit(saved / "1_Pooling" / "config.json", lambda _: written)
    assert folder.load(saved).model.spec.head == embed.Config(pool=pool)


def test_the_steps_of_version_6_are_read(saved):
    home = "sentence_transformers.sentence_transformer.modules.pooling."
    edit(saved / "modules.json", lambda steps: [steps[0], {**steps[1], "type": home + "Pooling"}])
    assert folder.load(saved).model.spec.head == embed.Config(normalised=False)


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("1_Pooling/config.json", lambda p: {**p, "pooling_mode_max_tokens": True}, "but found mean and max"),
        ("1_Pooling/config.json", lambda p: {"pooling_mode": "weightedmean"}, "must be one of cls, .* weightedmean"),
        ("1_Pooling/config.json", lambda p: {**p, "sharpness": 2}, "every key of .* must be understood"),
        ("modules.json", lambda m: [*m, {"path": "3_Dense", "type": "x.Dense"}], "but found .*Dense in '3_Dense'"),
        ("modules.json", lambda m: [{**m[0], "path": "0_Transformer"}, m[1]], "Transformer in '0_Transformer'"),
        ("modules.json", lambda m: [1], "must be a Transformer in the folder itself, Pooling .*, but found 1 in None"),
        ("modules.json", lambda m: {"steps": m}, "must hold a JSON array, but found dict"),
        ("sentence_bert_config.json", lambda s: {"max_seq_length": 8, "do_lower_case": True}, "do_lower_case in"),
        (
            "config_sentence_transformers.json",
            lambda s: {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
            "must put no prompt before each text, but found 'query: '",
        ),
    ],
)
def test_what_is_not_built_is_refused(saved, file, change, expected):
    if not (saved / file).is_file():
        (saved / file).write_text("{}")
    edit(saved / file, change)
    with pytest.raises(Refusal, match=expected):
        folder.load(saved)


def test_steps_without_their_file_are_refused(saved):
    (saved / "viva.json").unlink()
    (saved / "1_Pooling" / "config.json").unlink()
    with pytest.raises(Refusal, match=r"1_Pooling/config\.json must be a file, but found none"):
        folder.load(saved)


def test_a_saved_encoder_is_replaced_but_nothing_put_into_it(saved):
    m = viva.load(saved)
    m.save(saved)
    assert folder.fault(saved) is None
    (saved / "1_Pooling" / "thoughts.txt").write_text("mine")
    with pytest.raises(Refusal, match=r"a new folder or a checkpoint, but found 1_Pooling/thoughts\.txt"):
        m.save(saved)
    (saved / "1_Pooling" / "config.json").write_text("{}")
    assert folder.fault(saved) == "1_Pooling/config.json has changed since it was written"


def test_vectors_are_those_of_each_text_alone(saved):
    """The mean over [CLS] text [SEP], of length 1; texts of unlike length do not disturb each other."""
    m, texts = viva.load(saved), ["the cat sat", "a mat", "the cat sat on a mat and slept"]
    expected = []
    for text in texts:
        ids = [[2, *(WORDS.index(word) for word in text.split()), 3]]
        mean = m.model.hidden(torch.tensor(ids))[0].mean(0)
        expected.append(mean / mean.norm())
    torch.testing.assert_close(m.embed(texts), torch.stack(expected))
    assert m.embed([]).shape == (0, 32)


def test_many_texts_go_in_several_passes(saved, monkeypatch):
    m, texts = viva.load(saved), ["the cat", "a mat and the cat", "slept", "on", "the mat"]
    whole, lengths = m.embed(texts), []
    m.model.register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    monkeypatch.setattr("viva.infer.together.PACK", 8)
    torch.testing.assert_close(m.embed(texts), whole)
    assert lengths == [4, 7, 6, 4]  # the second alone; with the fifth the row would hold 10 of 8


def test_texts_are_never_cut_in_silence(saved):
    m, long = viva.load(saved), "the cat sat on a mat and slept on the mat"
    with pytest.raises(Refusal, match="a text must be of at most 12 tokens, but found 13 in text 1"):
        m.embed(["a cat", long])
    with pytest.warns(viva.Notice, match="1 of 2 texts are cut to 12 tokens"):
        cut = m.embed(["a cat", long], truncate=True)
    torch.testing.assert_close(cut[1], m.embed([long.rsplit(" ", 1)[0]])[0])


def test_the_length_that_the_folder_names_is_kept(saved, tmp_path):
    (saved / "sentence_bert_config.json").write_text('{"max_seq_length": 6, "do_lower_case": false}')
    m = viva.load(saved)
    m.save(tmp_path / "again")
    for model in (m, viva.load(tmp_path / "again")):
        with pytest.raises(Refusal, match="at most 6 tokens, but found 7"):
            model.embed(["the cat sat on a"])


@pytest.mark.parametrize(("kind", "pool"), [("bert", "first"), ("llama", "last")])
def test_a_text_is_read_as_in_training_here_and_by_transformers(kind, pool, tmp_path):
    """The ids of the run's own token cache: a tokenizer trained for the run frames nothing unless told to."""
    pairs = [{"question": f"who is {n}", "sentence": f"{n} is here"} for n in range(20)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    recipe = {
        "out": str(tmp_path / "out"),
        "model": {"kind": kind, "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 32},
        "tokenizer": {"vocab_size": 270},
        "data": {"kind": "files", "path": str(tmp_path / "pairs.jsonl")},
        "format": "pairs",
        "objective": "pairs",
        "head": {"kind": "embed", "pool": pool},
        "valid": 0.0,
        "train": {"steps": 1, "context": 32, "batch": 4},
    }
    m, seen = viva.load(viva.train(recipe).folder), []
    documents = Documents.open(next((tmp_path / "out" / "tokens").iterdir()), m.tokenizer)
    trained = [documents[n][0][: documents.cuts[n]].tolist() for n in range(20)]
    texts, theirs = [pair["question"] for pair in pairs], transformers.AutoTokenizer.from_pretrained(m.source)
    m.model.register_forward_pre_hook(lambda _, given: seen.append(given[0][0].tolist()))
    m.embed(texts)
    assert (
        seen == [[token for ids in trained for token in ids]] and trained[3][0] == trained[3][-1] == m.tokenizer.eos_id
    )
    assert theirs(texts).input_ids == trained


def test_a_model_that_writes_begins_its_prompts_and_does_not_end_them(tmp_path):
    """Also when transformers reads them."""
    plain = byte_bpe.train(["some words"], byte_bpe.Config(vocab_size=270))
    config = llama.TINY.model_copy(update={"vocab": 270})
    folder.save(tmp_path / "m", config, initialise(Transformer(config.spec())), plain)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert theirs("some").input_ids == [plain.bos_id, *plain.encode("some")]


def test_who_gives_no_vectors(tmp_path, tokenizer):
    config = bert.TINY.model_copy(update={"vocab": len(WORDS)})
    folder.save(tmp_path / "m", config, initialise(Transformer(config.spec())), tokenizer)
    with pytest.raises(Refusal, match="must have the head embed to give vectors, but found the head masked"):
        viva.load(tmp_path / "m").embed(["a cat"])


HEADS = [
    *(embed.Config(width=4), embed.Config(pool="last"), similar.Config(), none.Config()),
    *(CLASSES, classify.Config(labels=4, dense="gelu", pool="max"), regress.Config()),
    *(span.Config(dropout=0.5), tag.Config(labels=3)),
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", ["bert", "roberta", "llama", "gpt2", "t5"])
def test_a_head_that_their_classes_have_not_is_saved_all_the_same(family, head, tmp_path):
    """Under a key of our own, and the tensors by our own names; a model that opens there has the body."""
    tiny = choice.variant("viva.model.arch", family).TINY.model_copy(update={"head": head})
    model = initialise(tiny.spec().build(), seed=2).eval()
    folder.require_savable(tiny, model)
    folder.save(tmp_path / "m", tiny, model)
    found = folder.load(tmp_path / "m")
    assert found.config.spec().head.model_dump(exclude={"pool"}) == head.model_dump(exclude={"pool"})
    ids, two = torch.arange(3, 13)[None], Layout.packed(((4, 6),), 10)
    memory = [each.encode(ids, two) if each.encoder and each.decoder else None for each in (model, found.model)]
    mine, theirs = (each(ids, two, memory=m) for each, m in zip((model, found.model), memory, strict=True))
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
    if family in ("bert", "llama"):
        body = transformers.AutoModel.from_pretrained(tmp_path / "m").eval()
        states = body(input_ids=ids).last_hidden_state
        torch.testing.assert_close(model.hidden(ids), states, atol=1e-5, rtol=1e-5)
