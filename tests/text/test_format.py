"""Row formats: what is learned, counted in bytes, and what is refused with its place."""

import math

import pytest

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.text.rows.fields import FORMATS
from viva.text.rows.format import alpaca, messages, prompt, text
from viva.text.rows.row import Row
from viva.text.tokens.tokenizer import Tokenizer
from viva.train.objective import causal


def _learned(tokenizer, example):
    return tokenizer.decode([i for i, m in zip(example.ids, example.mask, strict=True) if m])


def test_a_document_is_all_learned_between_begin_and_end(ours):
    made = text.Config().example(Row({"text": "Hi <|im_end|> 中"}, "f:1"), ours)
    assert made.ids == [ours.bos_id, *ours.encode("Hi <|im_end|> 中"), ours.eos_id]
    assert all(made.mask) and made.bytes == len("Hi <|im_end|> 中".encode())


def test_a_row_without_text_gives_nothing(ours):
    made = text.Config(field="body").examples([Row({"body": ""}, "f:1"), Row({"body": "a"}, "f:2")], ours)
    assert made[0] is None and made[1].ids == [ours.bos_id, *ours.encode("a"), ours.eos_id]


def test_only_the_completion_is_learned(ours):
    made = prompt.Config().example(Row({"prompt": "12 + 34 =", "completion": "\n46 <|pad|>"}, "f:1"), ours)
    assert _learned(ours, made) == "\n46 <|pad|><|endoftext|>"
    assert made.ids[0] == ours.bos_id and made.bytes == len("\n46 <|pad|>")


def test_an_instruction_becomes_a_conversation(ours):
    row = Row({"instruction": "Add.", "input": "1 and 2", "output": "3 是"}, "f:1")
    made = alpaca.Config().example(row, ours)
    assert ours.decode(made.ids).startswith("<|im_start|>user\nAdd.\n\n1 and 2<|im_end|>")
    assert _learned(ours, made) == "3 是<|im_end|>" and made.bytes == len("3 是".encode())
    for without in ({}, {"input": ""}, {"input": None}):
        plain = alpaca.Config().example(Row({"instruction": "Add.", "output": "3", **without}, "f:1"), ours)
        assert ours.decode(plain.ids).startswith("<|im_start|>user\nAdd.<|im_end|>")


def test_the_answers_of_a_conversation_are_learned(ours):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2
    made = messages.Config().example(Row({"messages": talk}, "f:1"), ours)
    assert _learned(ours, made) == "b<|im_end|>b<|im_end|>" and made.bytes == 2


ALPACA = {"instruction": "a", "output": "b"}
TALK, MUTE = [{"role": "bot", "content": ""}], [{"role": "user", "content": "a"}]
BAD = {
    "field": (
        text,
        {"body": "a"},
        r"d\.jsonl:3 must have the field 'text', but found the fields 'body'.*example 'body'",
    ),
    "other format": (text, ALPACA, r"must have the field 'text'.*use the format 'alpaca'"),
    "talk for text": (alpaca, {"messages": []}, r"must have the field 'instruction'.*use the format 'messages'"),
    "half a row": (alpaca, {"instruction": "a"}, r"the field 'output', but found the fields 'instruction'"),
    "nothing": (prompt, {}, r"must have the field 'prompt', but found the fields \(none\).*add the field"),
    "nan": (text, {"text": math.nan}, r"d\.jsonl:3 must have text in the field 'text', but found nan.*remove that row"),
    "null": (text, {"text": None}, r"must have text in the field 'text', but found None.*remove that row"),
    "number": (prompt, {"prompt": "a", "completion": 3}, r"in the field 'completion', but found 3.*a string"),
    "surrogate": (text, {"text": "ab\ud83d"}, r"whole Unicode characters.*a lone surrogate at character 2"),
    "role": (messages, {"messages": TALK}, r"d\.jsonl:3, the field 'messages': message 0 must have a known role"),
    "no answer": (
        messages,
        {"messages": MUTE},
        r"d\.jsonl:3, the field 'messages' must have a turn to learn, of the assistant, but found the roles user",
    ),
    "text talk": (
        messages,
        {"messages": "hi"},
        r"d\.jsonl:3 must have a list of messages as 'messages', but found 'hi'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_row_that_does_not_fit_is_refused_with_its_place(ours, case):
    form, data, says = BAD[case]
    with pytest.raises(Refusal, match=says):
        form.Config().example(Row(data, "d.jsonl:3"), ours)


def test_a_tokenizer_without_an_end_is_refused(ours):
    endless = Tokenizer(ours.core, {})
    with pytest.raises(Refusal, match="must name an end token, or a model never learns to stop, but found none"):
        text.Config().example(Row({"text": "a"}, "f:1"), endless)


def test_a_tokenizer_of_berts_roles_frames_a_text_by_them(ours):
    """For masked words; an objective that writes text refuses such a tokenizer, which says no end."""
    bert = Tokenizer(ours.core, {"cls_token": "<|im_start|>", "sep_token": "<|im_end|>"})
    example = text.Config().example(Row({"text": "a"}, "f:1"), bert)
    assert example.ids == [ours.id("<|im_start|>"), *ours.encode("a"), ours.id("<|im_end|>")]
    with pytest.raises(Refusal, match="must name an end token, or a model never learns to stop, but found none"):
        causal.Config().reading(bert)


def test_every_format_is_known_by_a_field():
    assert [name for name in names(FORMATS) if not variant(FORMATS, name).Config.told_by] == ["ask", "auto"]
