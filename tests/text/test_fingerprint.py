"""A tokenizer that changed is refused, and the message names what differs."""

import json

import pytest

from viva.base.errors import Refusal
from viva.text.tokens.fingerprint import Fingerprint
from viva.text.tokens.grow import Config as Grow
from viva.text.tokens.grow import grow
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer


def _changed(ours, tmp_path, change):
    ours.save(tmp_path)
    file, config = (json.loads((tmp_path / name).read_text()) for name in ("tokenizer.json", "tokenizer_config.json"))
    change(file, config)
    (tmp_path / "tokenizer.json").write_text(json.dumps(file))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.load(tmp_path).fingerprint


def test_it_survives_json(ours):
    again = Fingerprint.model_validate(json.loads(json.dumps(ours.fingerprint.model_dump(mode="json"))))
    assert again == ours.fingerprint
    again.require(ours.fingerprint, "the checkpoint")


def test_another_vocabulary_is_refused_with_the_first_differing_id(ours):
    other = byte_bpe.train(["The other quick fox the other"] * 5, byte_bpe.Config(vocab_size=280))
    pairs = zip(ours.fingerprint.probe, other.fingerprint.probe, strict=False)
    place, (a, b) = next((i, pair) for i, pair in enumerate(pairs) if pair[0] != pair[1])
    says = rf"runs/x needs its own tokenizer: the id at place {place} of the probe text must be {a}, but found {b}\."
    with pytest.raises(Refusal, match=says):
        ours.fingerprint.require(other.fingerprint, "runs/x")


def test_a_frame_that_was_not_written_down_is_any(ours):
    ours.fingerprint.model_copy(update={"frame": None}).require(ours.fingerprint, "an older checkpoint")


CHANGES = {
    "template": lambda file, config: config.update(chat_template="{{ messages }}"),
    "roles": lambda file, config: config.update(eos_token="<|im_end|>"),
    "specials": lambda file, config: config.update(mask_token="<mask>"),
    "normalizer": lambda file, config: file.update(normalizer={"type": "NFC"}),
    "merges": lambda file, config: file["model"]["merges"].pop(),
    "frame": lambda file, config: config.update(sep_token="<|im_end|>"),
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_change_that_the_probe_does_not_show_is_refused_with_its_name(ours, tmp_path, part):
    found = _changed(ours, tmp_path, CHANGES[part])
    with pytest.raises(Refusal, match=f"its {part} must be|the id at place|must give"):
        ours.fingerprint.require(found, "the checkpoint")
    assert getattr(found, part) != getattr(ours.fingerprint, part)


def _flagged(file, token, flag):
    next(each for each in file["added_tokens"] if each["content"] == token)[flag] = True


ADDED = {
    "single_word": ("an ordinary token", "numpy"),
    "lstrip": ("a special token", "<|im_end|>"),
    "rstrip": ("a special token", "<|im_end|>"),
}


@pytest.mark.parametrize("flag", ADDED)
def test_how_an_added_token_is_looked_for_is_part_of_it(ours, tmp_path, flag):
    grown = grow(ours, Grow(tokens=("numpy",))).tokenizer
    found = _changed(grown, tmp_path, lambda file, config: _flagged(file, ADDED[flag][1], flag))
    with pytest.raises(Refusal, match=rf"its flags must be \{{'numpy': \('normalized',\)\}}, but found .*'{flag}'"):
        grown.fingerprint.require(found, "the checkpoint")
    old = grown.fingerprint.model_copy(update={"flags": None})
    old.require(found, "an older checkpoint")


@pytest.mark.parametrize("role", ["unk", "sep", "cls", "mask"])
def test_every_role_is_part_of_it(ours, tmp_path, role):
    special = ours.specials["<|im_start|>"]
    found = Tokenizer(ours.core, {**ours.config, f"{role}_token": "<|im_start|>"}).fingerprint
    with pytest.raises(Refusal, match=rf"its other_roles must be \{{\}}, but found \{{'{role}': {special}\}}"):
        ours.fingerprint.require(found.model_copy(update={"frame": ours.fingerprint.frame}), "the checkpoint")


def test_the_type_ids_of_a_pair_are_part_of_it(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlow\n##er\n", encoding="utf-8")
    bert = Tokenizer.load(tmp_path / "vocab.txt", do_lower_case=True)

    def one_segment(file, config):
        for part in file["post_processor"]["pair"]:
            next(iter(part.values()))["type_id"] = 0

    found = _changed(bert, tmp_path / "changed", one_segment)
    assert bert.encode_framed([("low", "lower")])[0].type_ids == [0, 0, 0, 1, 1, 1]
    with pytest.raises(Refusal, match="its segments must be"):
        bert.fingerprint.require(found, "the checkpoint")
