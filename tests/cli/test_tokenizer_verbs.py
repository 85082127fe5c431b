"""`viva tokenizer diff`, `convert` and `add`, as a user calls them."""

import json

import pytest
import transformers
from tokenizers import processors

import viva as public
from viva.text.tokens.frame import REPLACED
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.probes import PROBES
from viva.text.tokens.read._byte_level import written
from viva.text.tokens.tokenizer import Tokenizer

BYTES = [bytes([number]) for number in range(256)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two tokenizers of one vocabulary; the second joins no space to a word."""
    folder, texts = tmp_path_factory.mktemp("pair"), ["low lower lowest slow \n" * 9]
    byte_bpe.train(texts, byte_bpe.Config(vocab_size=273)).save(folder / "a")
    byte_bpe.train(texts, byte_bpe.Config(vocab_size=273)).save(folder / "b")
    parts = json.loads((folder / "b" / "tokenizer.json").read_text())
    parts["model"]["merges"] = [m for m in parts["model"]["merges"] if "Ġ" not in "".join(m)]
    (folder / "b" / "tokenizer.json").write_text(json.dumps(parts))
    return folder / "a", folder / "b"


def test_diff_of_one_with_itself_finds_none(viva, pair):
    code, out, _ = viva("tokenizer", "diff", pair[0], pair[0])
    assert code == 0
    assert out == f"parts that differ: none\ntexts with different ids: 0 of {len(PROBES) + 4}\n"


def test_diff_names_the_part_and_shows_the_first_difference(viva, pair, tmp_path):
    (tmp_path / "data.txt").write_text("so low low low low low\n", encoding="utf-8")
    code, out, _ = viva("tokenizer", "diff", *pair, "--data", tmp_path / "data.txt", "--most", 99)
    assert code == 1 and out.startswith("parts that differ: merges")
    a, b = map(Tokenizer.load, pair)
    space, low, ow = b.id("Ġ"), a.id("Ġlow"), a.id("low")
    lines = out[out.index("'so low") :].splitlines()
    assert lines[0] == "'so low low low low low\\n', at token 2, a person's text"
    assert lines[1] == f"  {pair[0]}: s:{a.id('s')} o:{a.id('o')}" + 4 * f" Ġlow:{low}"
    assert lines[2] == f"  {pair[1]}: s:{a.id('s')} o:{a.id('o')}" + 2 * f" Ġ:{space} low:{ow}"


CHANGES = {
    "template": {"chat_template": "{{ messages }}"},
    "roles": {"pad_token": "<|endoftext|>"},
    "other_roles": {"mask_token": "<|im_end|>"},
}


@pytest.mark.parametrize("part", CHANGES)
def test_diff_tells_what_no_text_shows(viva, pair, tmp_path, part):
    loaded = Tokenizer.load(pair[0])
    Tokenizer(loaded.core, {**loaded.config, **CHANGES[part]}).save(tmp_path)
    code, out, _ = viva("tokenizer", "diff", pair[0], tmp_path)
    assert code == 1 and out == f"parts that differ: {part}\ntexts with different ids: 0 of {len(PROBES) + 4}\n"


def test_diff_tells_special_tokens_that_take_spaces_in(viva, pair, tmp_path):
    loaded = Tokenizer.load(pair[0])
    loaded.save(tmp_path)
    parts = json.loads((tmp_path / "tokenizer.json").read_text())
    for token in parts["added_tokens"]:
        token["lstrip"] = token["content"] == "<|im_end|>"
    (tmp_path / "tokenizer.json").write_text(json.dumps(parts))
    code, out, _ = viva("tokenizer", "diff", pair[0], tmp_path)
    assert code == 1 and out.startswith(f"parts that differ: flags\ntexts with different ids: 1 of {len(PROBES) + 4}\n")
    assert "'one <|im_end|> two<|im_end|>three', at token 3, special tokens counting" in out


def test_diff_tells_another_frame(viva, pair, tmp_path):
    made = Tokenizer.load(pair[0])
    end = ("<|im_end|>", made.id("<|im_end|>"))
    made.core.post_processor = processors.TemplateProcessing(single="$A <|im_end|>", special_tokens=[end])
    published = {key: held for key, held in made.config.items() if key != REPLACED}
    Tokenizer(made.core, published).save(tmp_path)
    code, out, _ = viva("tokenizer", "diff", pair[0], tmp_path)
    assert code == 1 and out.startswith("parts that differ: frame, segments\n")
    assert "at token 0, framed" in out


def test_convert_saves_what_transformers_opens(viva, tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nlow\n##er\n", encoding="utf-8")
    code, out, _ = viva("tokenizer", "convert", tmp_path / "vocab.txt", "--do-lower-case", "--out", tmp_path / "made")
    assert (code, out) == (0, f"6 tokens, 4 of them special, saved in {tmp_path / 'made'}\n")
    twin = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    assert twin("Lower low")["input_ids"] == [2, 4, 5, 4, 3]
    code, _, err = viva("tokenizer", "convert", tmp_path / "made", "--pattern", "gpt2", "--out", tmp_path / "x")
    assert code == 2 and "must be what tokenizer.json may leave open, but found pattern" in err


def test_add_to_a_tokenizer(viva, pair, tmp_path):
    code, out, _ = viva(
        "tokenizer", "add", pair[0], "--tokens", "abc", "词元", "--special", "<|x|>", "--out", tmp_path / "more"
    )
    first = Tokenizer.load(pair[0]).vocab_size
    assert code == 0 and f"{first:>8}  'abc'\n{first + 1:>8}  '词元'\n{first + 2:>8}  '<|x|>'\n3 tokens added" in out
    made = public.load_tokenizer(tmp_path / "more")
    assert made.encode("词元abc<|x|>")[:2] == [first + 1, first] and first + 2 not in made.encode("词元abc<|x|>")
    assert made.specials["<|x|>"] == first + 2


def test_add_to_a_model(viva, tiny, tmp_path):
    code, out, _ = viva("tokenizer", "add", tiny, "--tokens", "abc", "--out", tmp_path / "grown")
    assert code == 0 and "1 tokens added" in out
    grown, before = public.load(tmp_path / "grown"), public.load(tiny)
    assert grown.spec.vocab == before.spec.vocab + 1
    assert json.loads((tmp_path / "grown" / "viva.json").read_text())["added"] == {"abc": before.spec.vocab}
    code, _, err = viva("tokenizer", "add", tiny, "--tokens", "a", "--out", tmp_path / "no")
    assert code == 2 and "a token that is added must be new, but found 'a', which has the id" in err
    code, _, err = viva("tokenizer", "add", tiny, "--out", tmp_path / "no")
    assert code == 2 and "there must be tokens to add, but found none" in err


def test_report_prints_a_table_and_writes_it(viva, pair, tmp_path):
    rows = [{"lang": "en", "text": "low lower"}, {"lang": "el", "text": "λ"}]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    code, out, _ = viva(
        "tokenizer", "report", *pair, "--data", tmp_path / "data.jsonl", "--out", tmp_path / "out", "--turns", 1
    )
    lines = out.splitlines()
    assert code == 0 and lines[0] == "2 texts in 2 languages and 2 scripts: 3 words, 10 characters, 11 bytes."
    # a: low | Ġlower | two bytes of λ. b: low | Ġ | low | e | r | the two bytes
    assert [line.split(" | ")[:4] for line in lines[4:6]] == [
        ["| a", "266", "1.33", "0.400"],
        ["| b", "266", "2.33", "0.700"],
    ]
    assert lines[-1].startswith("| el | Greek |  | 2.00 | 2.00 |")
    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8") == out
    found = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert found["texts"]["languages"]["el"]["units"] == {"texts": 1, "words": 1, "characters": 1, "bytes": 2}
    assert found["tokenizers"]["a"]["languages"]["el"]["fragments"] == 1
    assert found["tokenizers"]["a"]["scripts"]["Latin"]["fragments"] == 0
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG")


def test_report_refuses_before_it_measures(viva, pair, tmp_path):
    (tmp_path / "en.txt").write_text("low", encoding="utf-8")
    code, _, err = viva("tokenizer", "report", pair[0], pair[0], "--data", tmp_path / "en.txt")
    assert code == 2 and "tokenizers must be named, each once" in err
    code, _, err = viva("tokenizer", "report", "--data", tmp_path / "en.txt")
    assert code == 2 and "tokenizers must be named, each once, but found none" in err
    code, _, err = viva("tokenizer", "report", pair[0], "--data", tmp_path / "en.txt", "--show", "fr")
    assert code == 2 and "a language to show must be in the data, but found 'fr'. To fix it, use 'en'" in err


def test_a_template_for_a_models_tokenizer_says_that_the_model_does_not_grow(viva, pair, tiny, tmp_path):
    code, _, err = viva("tokenizer", "template", tiny, "gemma", "--out", tmp_path / "tokens")
    grow = f"`viva tokenizer add {tiny} --special '<start_of_turn>' '<end_of_turn>'` grows it"
    assert code == 0 and err == f"viva: the model in {tiny} has no rows for the new tokens: {grow}\n"
    for alone, name in ((pair[0], "gemma"), (tiny, "vicuna")):  # no model, no new token
        code, _, err = viva("tokenizer", "template", alone, name, "--out", tmp_path / name)
        assert (code, err) == (0, "")


def test_a_vocabulary_that_no_file_names_is_told_as_the_verb_says(viva, tmp_path):
    """And nothing of Python alone: the command that is advised, with this place, works."""
    (tmp_path / "vocab.json").write_text(json.dumps({sign: n for n, sign in enumerate([*map(written, BYTES), "lo"])}))
    (tmp_path / "merges.txt").write_text("l o\n")
    code, _, err = viva("tokenizer", "convert", tmp_path, "--out", tmp_path / "made")
    advised = f"viva tokenizer convert {tmp_path} --pattern gpt2 --out NEW"
    assert code == 2 and f"To fix it, say which one it is, as in `{advised}`, or `viva.load_tokenizer(path, " in err
    code, out, _ = viva(*advised.replace("NEW", str(tmp_path / "made")).split()[1:])
    assert code == 0 and out.startswith("257 tokens")
