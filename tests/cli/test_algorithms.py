"""`viva tokenizer train --algorithm`: every algorithm from the command line, its fields as options."""

import pytest
from transformers import AutoTokenizer

import viva as public
from viva.base.choice import names

TEXT = "low lower lowest, new newer newest; wide wider widest\n" * 9


@pytest.mark.parametrize("kind", names("viva.text.tokens.learn"))
def test_every_algorithm_is_named_with_dashes(viva, tmp_path, kind):
    (tmp_path / "text.txt").write_text(TEXT)
    words = ["tokenizer", "train", tmp_path / "text.txt", "--out", tmp_path / "made", "--algorithm"]
    code, out, _ = viva(
        *words, kind.replace("_", "-"), "--vocab-size", 330, "--normalize", "nfkc", "--normalize", "lower", "--mask"
    )
    learned, twin = public.load_tokenizer(tmp_path / "made"), AutoTokenizer.from_pretrained(tmp_path / "made")
    assert (code, out) == (0, f"{learned.vocab_size} tokens, saved in {tmp_path / 'made'}\n")
    assert (
        learned.encode("LOW lowest")
        == learned.encode("low lowest")
        == twin.encode("LOW lowest", add_special_tokens=False)
    )
    assert twin.mask_token == "<|mask|>"


def test_a_folder_and_the_field_of_its_rows(viva, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text('{"body": "one two two"}\n{"body": "two three"}\n')
    words = [
        "tokenizer",
        "train",
        tmp_path / "data",
        "--out",
        tmp_path / "made",
        "--algorithm",
        "word",
        "--field",
        "body",
    ]
    viva(*words, "--vocab-size", 7)
    assert public.load_tokenizer(tmp_path / "made").core.get_vocab()["two"] == 5
    code, _, err = viva(*[word for word in words if word not in ("--field", "body")])
    assert code == 2 and "a.jsonl:1 must have the field 'text'" in err


def test_a_data_set_of_the_hub_is_asked_for(viva, tmp_path, monkeypatch):
    import datasets

    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *words, **_: asked.append(words) or [{"text": TEXT}])
    assert viva("tokenizer", "train", "owner/name", "--out", tmp_path / "made", "--vocab-size", 270)[0] == 0
    assert {words[0] for words in asked} == {"owner/name"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--algorithm", "bytebpe"], "--algorithm must be a known one, but found 'bytebpe'. To fix it, use 'byte-bpe'"),
        (["--algorithm", "bpe", "--byte-fallbak"], "Unknown option: --byte-fallbak. Did you mean --byte-fallback?"),
        (["--coverage", "1"], "Unknown option: --coverage"),
        (["--algorithm", "bpe", "--coverage", "2"], "coverage: Input should be less than or equal to 1 (given '2')"),
        (["--words", "spaces"], "words: Input should be 'whitespace', 'gpt2', 'gpt4', 'script', 'none' or 'jieba'"),
        (
            ["--algorithm", "unigram", "--words", "jieba"],
            "words: Input should be 'whitespace', 'gpt2', 'gpt4', 'script'",
        ),
        (["--algorithm", "char", "--vocab-size", "262"], "vocab_size must be at least 2"),
    ],
)
def test_a_mistake_is_one_sentence(viva, tmp_path, options, sentence):
    (tmp_path / "text.txt").write_text(TEXT)
    code, out, err = viva("tokenizer", "train", tmp_path / "text.txt", "--out", tmp_path / "made", *options)
    assert (code, out) == (2, "") and sentence in err and err.count("\n") == 1


@pytest.mark.parametrize("kind", names("viva.text.tokens.learn"))
def test_help_shows_the_fields_of_the_algorithm(viva, kind):
    code, shown, _ = viva("tokenizer", "train", "--algorithm", kind, "--help")
    assert code == 0 and "--vocab-size" in shown
    assert ("--byte-fallback" in shown) == (kind in ("bpe", "char", "unigram"))
