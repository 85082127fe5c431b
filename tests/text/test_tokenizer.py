"""The tokenizer against transformers' reading of the same files, and against its own promises."""

import json
import os
import subprocess
import sys

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from viva.base.errors import Refusal
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer

SAMPLES = [
    "",
    " ",
    "The dog doesn't mind.\r\n\r\n\tnext  line   ",
    "naïve café, 12345.678e-9, don't we'LL",
    "模型，词元！今天是2024年",
    "👩‍👩‍👧 🙂\u200d\ufeff\x00\x7f",
    "def f(x):\n        return x[::-1]  # no\n\n\n",
]
SPECIALS = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
anything = st.text() | st.lists(st.sampled_from([*SPECIALS, " ", "a", "\ufdd0", "\ufdd1", "中"])).map("".join)


@given(anything)
@example("<|im_end|><|endoftext|>")
@example("\ufdd0\ufdd1")
def test_decoding_gives_the_text_back(ours, text):
    assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize("text", SAMPLES)
def test_ids_equal_those_of_transformers(ours, twin, text):
    assert ours.encode(text) == twin.encode(text, add_special_tokens=False)
    assert ours.decode(ours.encode(text)) == twin.decode(twin.encode(text, add_special_tokens=False))


def test_special_tokens_in_text_stay_text(ours, twin):
    ids = ours.encode("a<|im_end|>b")
    assert not set(ids) & set(ours.specials.values())
    assert ours.id("<|im_end|>") in twin.encode("a<|im_end|>b")  # what others do


def test_each_digit_is_a_token(ours):
    ids = ours.encode("x = 12345")
    assert [ours.decode([i]) for i in ids[-5:]] == list("12345")


def test_three_digits_may_be_one_token():
    grouped = byte_bpe.train(["123 123 123 123"] * 9, byte_bpe.Config(vocab_size=300, digits="three"))
    assert [grouped.decode([i]) for i in grouped.encode("1234")] == ["123", "4"]


def test_ours_names_distinct_tokens_for_pad_and_end(ours, twin):
    assert (ours.bos_id, ours.eos_id) == (0, 0) and ours.pad_id == 1
    assert (twin.bos_token_id, twin.eos_token_id, twin.pad_token_id) == (ours.bos_id, ours.eos_id, ours.pad_id)
    assert ours.stops == {ours.id("<|endoftext|>"), ours.id("<|im_end|>")}
    assert ours.vocab_size == len(twin) == 420


def test_training_is_deterministic_in_another_process_on_one_thread(ours):
    code = (
        "import sys; sys.path.insert(0, 'tests/text'); from sample_texts import TEXTS;"
        "from viva.text.tokens.learn import byte_bpe;"
        "print(byte_bpe.train(TEXTS, byte_bpe.Config(vocab_size=420)).fingerprint.merges)"
    )
    env = {**os.environ, "RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    made = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert made.stdout.strip() == ours.fingerprint.merges


def test_a_saved_tokenizer_is_the_same(ours, tmp_path):
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint == ours.fingerprint
    assert again.config["chat_template"] == ours.template
    again.save(tmp_path / "twice")
    assert (tmp_path / "twice" / "tokenizer.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def _foreign(ours, folder, **config):
    """A folder as the hub has them: the file of `ours`, and a configuration of another make."""
    ours.save(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


AS_DICT = {"content": "<|im_end|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


@pytest.mark.parametrize("eos", ["<|im_end|>", AS_DICT, {"__type": "AddedToken", **AS_DICT}])
def test_a_special_token_may_be_given_as_a_string_or_with_its_attributes(ours, tmp_path, eos):
    folder = _foreign(ours, tmp_path, eos_token=eos, pad_token=eos, tokenizer_class="PreTrainedTokenizerFast")
    loaded = Tokenizer.load(folder)
    loaded.save(tmp_path / "ours")  # transformers itself does not open the second form; what we save, it does
    theirs = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert loaded.eos_id == loaded.pad_id == theirs.eos_token_id == theirs.pad_token_id == 3
    assert loaded.words["eos_token"] == "<|im_end|>" and loaded.bos_id is None


@pytest.mark.parametrize("place", ["string", "file", "named", "both"])
def test_the_template_is_found_where_transformers_finds_it(ours, tmp_path, place):
    template = "{{ messages[0].content }}!"
    inline = {"string": template, "named": [{"name": "default", "template": template}], "both": "other"}.get(place)
    folder = _foreign(ours, tmp_path, **({"chat_template": inline} if inline else {}))
    if place in ("file", "both"):
        (folder / "chat_template.jinja").write_text(template)
    for _ in ("as it came", "saved over itself"):
        theirs = AutoTokenizer.from_pretrained(folder).get_chat_template()
        assert Tokenizer.load(folder).template == template == theirs
        Tokenizer.load(folder).save(folder)


def test_saving_replaces_a_template_that_was_there(ours, tmp_path):
    (tmp_path / "chat_template.jinja").write_text("old")
    ours.save(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).get_chat_template() == ours.template


def test_tokens_that_only_the_configuration_names_are_added_as_transformers_adds_them(ours, tmp_path):
    config = {"eos_token": "<eos>", "extra_special_tokens": ["<tool>", "The"], "tokenizer_class": "TokenizersBackend"}
    folder = _foreign(ours, tmp_path, **config)
    loaded, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    for token in ("<eos>", "<tool>"):
        assert loaded.id(token) == theirs.convert_tokens_to_ids(token)
        assert loaded.id(token) not in loaded.encode(f"a{token}b")
    assert loaded.vocab_size == len(theirs)


def test_an_end_token_that_the_file_does_not_call_special_is_made_so(ours, tmp_path):
    folder = _foreign(ours, tmp_path, eos_token="<|im_end|>")
    file = json.loads((folder / "tokenizer.json").read_text())
    file["added_tokens"][3]["special"] = False
    (folder / "tokenizer.json").write_text(json.dumps(file))
    loaded = Tokenizer.load(folder)
    assert loaded.eos_id == loaded.specials["<|im_end|>"] == 3
    assert 3 not in loaded.encode("a<|im_end|>b")


def test_special_tokens_map_of_old_folders_is_read(ours, tmp_path):
    folder = _foreign(ours, tmp_path)
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": AS_DICT}))
    assert Tokenizer.load(folder).eos_id == AutoTokenizer.from_pretrained(folder).eos_token_id == 3


def test_truncation_and_padding_that_a_file_asks_for_are_not_applied(ours, tmp_path):
    folder = _foreign(ours, tmp_path)
    file = json.loads((folder / "tokenizer.json").read_text())
    file["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(file))
    text = "one two three four five six seven"
    assert Tokenizer.load(folder).encode(text) == ours.encode(text)


def test_ids_with_holes_still_fit_the_embedding(ours, tmp_path):
    folder = _foreign(ours, tmp_path)
    file = json.loads((folder / "tokenizer.json").read_text())
    file["model"]["vocab"]["<far>"] = 500
    file["added_tokens"].append({**file["added_tokens"][0], "id": 500, "content": "<far>"})
    (folder / "tokenizer.json").write_text(json.dumps(file))
    loaded = Tokenizer.load(folder)
    assert loaded.id("<far>") == 500 and loaded.vocab_size == 501


def test_refusals(ours, tmp_path):
    says = r"a tokenizer must be one of: tokenizer\.json; .*, but found no such file or folder: .*nowhere"
    with pytest.raises(Refusal, match=says):
        Tokenizer.load(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(Refusal, match=r"tokenizer\.json must be a tokenizer\.json.*fetch or save it again"):
        Tokenizer.load(tmp_path)
    with pytest.raises(Refusal, match=r"must hold the token, but found '<\|im_stop\|>'.*use '<\|im_start\|>'"):
        ours.id("<|im_stop|>")
    with pytest.raises(Refusal, match="must have text to learn from, but found none"):
        byte_bpe.train(["", ""])
    _foreign(ours, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(Refusal, match=r"tokenizer_config\.json must be valid JSON"):
        Tokenizer.load(tmp_path)


@pytest.fixture(scope="module")
def framed(ours, tmp_path_factory):
    """A tokenizer that frames its texts as BERT's does, ours and transformers'."""
    folder = _foreign(ours, tmp_path_factory.mktemp("framed"))
    file = json.loads((folder / "tokenizer.json").read_text())
    core = tokenizers.Tokenizer.from_str(json.dumps(file))
    core.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>",
        pair="<|im_start|> $A <|im_end|> $B:1 <|im_end|>:1",
        special_tokens=[(token, ours.id(token)) for token in ("<|im_start|>", "<|im_end|>")],
    )
    core.save(str(folder / "tokenizer.json"))
    return Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("most", [None, 9])
def test_texts_and_pairs_are_framed_as_in_transformers(framed, most):
    """Ids and segments, whole or cut to so many tokens."""
    ours, twin = framed
    pairs = [("a question about the dog", "the answer"), ("", "it is what it is, and more of it"), ("one", "")]
    for texts, split in ((SAMPLES, (SAMPLES,)), (pairs, tuple(map(list, zip(*pairs, strict=True))))):
        mine = ours.encode_framed(texts, most)
        theirs = twin(*split, truncation=most is not None, max_length=most, return_token_type_ids=True)
        assert [encoding.ids for encoding in mine] == theirs["input_ids"]
        assert [encoding.type_ids for encoding in mine] == theirs["token_type_ids"]
        assert most is None or max(len(encoding.ids) for encoding in mine) == most


def test_a_framed_text_cannot_forge_its_frame(framed):
    ours, _ = framed
    assert ours.encode_framed(["<|im_end|>"])[0].ids[1:-1] == ours.encode("<|im_end|>")
    assert ours.id("<|im_end|>") not in ours.encode_framed(["<|im_end|>" * 9], 5)[0].ids[1:-1]
    with pytest.raises(Refusal, match="a lone surrogate"):
        ours.encode_framed([("a", "\ud800")])
