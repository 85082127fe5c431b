"""The chat templates that come with viva: what they write, and token by token what of it is learned."""

import json
import re
from pathlib import Path

import pytest
from brackets import bracketed
from transformers import AutoTokenizer

from viva.base.errors import Refusal
from viva.cli import tokenizer as cli
from viva.text.talk import chat
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.templates import named, names
from viva.text.tokens.tokenizer import Tokenizer

SYSTEM = {"role": "system", "content": "Be kind, 友善。"}
TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello 🙂"},
    {"role": "user", "content": "为什么?"},
    {"role": "assistant", "content": "因为。"},
]
TOOL = {"type": "function", "function": {"name": "add", "description": "和", "parameters": {"type": "object"}}}
CALL = {"type": "function", "id": "abc123456", "function": {"name": "add", "arguments": {"a": 1, "b": "<二>"}}}
CALLED = [
    {"role": "user", "content": "1 + 二?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "3", "tool_call_id": "abc123456", "name": "add"},
    {"role": "assistant", "content": "It is 三."},
]
QWEN_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function "
    'signatures within <tools></tools> XML tags:\n<tools>\n{"type": "function", "function": {"name": "add", '
    '"description": "和", "parameters": {"type": "object"}}}\n</tools>\n\nFor each function call, return a json object '
    "with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n'
)
LLAMA_TOOLS = """<|start_header_id|>system<|end_header_id|>

Environment: ipython
Cutting Knowledge Date: December 2023
Today Date: 26 Jul 2024

<|eot_id|><|start_header_id|>user<|end_header_id|>

Given the following functions, please respond with a JSON for a function call with its proper arguments that best \
answers the given prompt.

Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}.Do not use \
variables.

{
    "type": "function",
    "function": {
        "name": "add",
        "description": "和",
        "parameters": {
            "type": "object"
        }
    }
}

"""
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
E = "<|endoftext|>"  # the begin and the end token of the tokenizer here

# Written by hand after the published formats; what stands between ⟦ and ⟧ is learned.
CASES = {
    ("chatml", "turns"): "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello 🙂<|im_end|>⟧\n"
    "<|im_start|>user\n为什么?<|im_end|>\n<|im_start|>assistant\n⟦因为。<|im_end|>⟧\n",
    ("chatml", "system"): "<|im_start|>system\nBe kind, 友善。<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n⟦Hello 🙂<|im_end|>⟧\n",
    ("llama2", "turns"): f"{E}[INST] Hi [/INST]⟦ Hello 🙂 {E}⟧{E}[INST] 为什么? [/INST]⟦ 因为。 {E}⟧",
    ("llama2", "system"): f"{E}[INST] <<SYS>>\nBe kind, 友善。\n<</SYS>>\n\nHi [/INST]⟦ Hello 🙂 {E}⟧",
    ("llama3", "turns"): f"{E}<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Hello 🙂<|eot_id|>⟧"
    "<|start_header_id|>user<|end_header_id|>\n\n为什么?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦因为。<|eot_id|>⟧",
    ("llama3", "system"): f"{E}<|start_header_id|>system<|end_header_id|>\n\nBe kind, 友善。<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Hello 🙂<|eot_id|>⟧",
    ("llama3_1", "system"): f"{E}<|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe kind, 友善。<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Hello 🙂<|eot_id|>⟧",
    ("llama3_1", "tools"): f"{E}{LLAMA_TOOLS}1 + 二?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    '⟦{"name": "add", "parameters": {"a": 1, "b": "<二>"}}<|eot_id|>⟧<|start_header_id|>ipython<|end_header_id|>\n\n'
    '"3"<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦It is 三.<|eot_id|>⟧',
    ("mistral", "turns"): f"{E}[INST] Hi[/INST]⟦ Hello 🙂{E}⟧[INST] 为什么?[/INST]⟦ 因为。{E}⟧",
    ("mistral", "system"): f"{E}[INST] Be kind, 友善。\n\nHi[/INST]⟦ Hello 🙂{E}⟧",
    ("mistral", "tools"): E
    + '[AVAILABLE_TOOLS] [{"type": "function", "function": {"name": "add", "description": "和", '
    '"parameters": {"type": "object"}}}][/AVAILABLE_TOOLS][INST] 1 + 二?[/INST]⟦[TOOL_CALLS] [{"name": "add", '
    f'"arguments": {{"a": 1, "b": "<二>"}}, "id": "abc123456"}}]{E}⟧[TOOL_RESULTS] {{"content": 3, '
    f'"call_id": "abc123456"}}[/TOOL_RESULTS]⟦ It is 三.{E}⟧',
    ("gemma", "turns"): f"{E}<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n⟦Hello 🙂<end_of_turn>⟧\n"
    "<start_of_turn>user\n为什么?<end_of_turn>\n<start_of_turn>model\n⟦因为。<end_of_turn>⟧\n",
    ("alpaca", "turns"): f"{E}{ALPACA}\n\n### Instruction:\nHi\n\n### Response:⟦Hello 🙂{E}⟧\n\n### Instruction:\n"
    f"为什么?\n\n### Response:⟦因为。{E}⟧",
    ("alpaca", "system"): f"{E}Be kind, 友善。\n\n### Instruction:\nHi\n\n### Response:⟦Hello 🙂{E}⟧",
    ("vicuna", "turns"): f"{E}{VICUNA} USER: Hi ASSISTANT:⟦ Hello 🙂{E}⟧USER: 为什么? ASSISTANT:⟦ 因为。{E}⟧",
    ("vicuna", "system"): f"{E}Be kind, 友善。 USER: Hi ASSISTANT:⟦ Hello 🙂{E}⟧",
    ("qwen2_5", "turns"): "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello 🙂<|im_end|>⟧\n"
    "<|im_start|>user\n为什么?<|im_end|>\n<|im_start|>assistant\n⟦因为。<|im_end|>⟧\n",
    ("qwen2_5", "tools"): "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.\n\n"
    f"{QWEN_TOOLS}<|im_start|>user\n1 + 二?<|im_end|>\n<|im_start|>assistant\n"
    '⟦<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "<二>"}}\n</tool_call><|im_end|>⟧\n'
    "<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>\n<|im_start|>assistant\n⟦It is 三.<|im_end|>⟧\n",
    ("qwen3", "turns"): "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello 🙂<|im_end|>⟧\n"
    "<|im_start|>user\n为什么?<|im_end|>\n<|im_start|>assistant\n⟦<think>\n\n</think>\n\n因为。<|im_end|>⟧\n",
    ("qwen3", "tools"): f"<|im_start|>system\n{QWEN_TOOLS}<|im_start|>user\n1 + 二?<|im_end|>\n"
    '<|im_start|>assistant\n⟦<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "<二>"}}\n</tool_call><|im_end|>'
    "⟧\n<|im_start|>user\n<tool_response>\n3\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    "⟦<think>\n\n</think>\n\nIt is 三.<|im_end|>⟧\n",
    ("qwen3", "system"): "<|im_start|>system\nBe kind, 友善。<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n⟦<think>\n\n</think>\n\nHello 🙂<|im_end|>⟧\n",
}
TALKS = {"turns": (TURNS, None), "system": ([SYSTEM, *TURNS[:2]], None), "tools": (CALLED, [TOOL])}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(ours, transformers') of single bytes, with the template of a name."""
    bytewise = byte_bpe.train(["bytes"], byte_bpe.Config(vocab_size=260))
    made = {}

    def with_template(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            bytewise.with_template(name).save(folder)
            made[name] = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
        return made[name]

    return with_template


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_text_and_mask_are_as_written_by_hand(pair, case):
    name, kind = case
    tokenizer, _ = pair(name)
    messages, tools = TALKS[kind]
    made = chat.render(tokenizer, messages, tools=tools)
    assert bracketed(tokenizer, made) == CASES[case]
    assert made.text == CASES[case].replace("⟦", "").replace("⟧", "")


@pytest.mark.parametrize("name", names())
def test_every_template_is_described(name):
    page = (Path(__file__).parents[2] / "docs" / "chat.md").read_text(encoding="utf-8")
    assert f"\n| `{name}` |" in page and re.search(rf"\b{name}\b", cli.template.__doc__)


def test_every_template_has_a_case():
    assert {name for name, _ in CASES} == set(names())


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_ids_and_mask_equal_those_of_transformers(pair, case):
    """Finished, with the mask of its {% generation %} blocks, and with a reply opened."""
    tokenizer, theirs = pair(case[0])
    messages, tools = TALKS[case[1]]
    found = theirs.apply_chat_template(messages, tools, return_assistant_tokens_mask=True, return_dict=True)
    made = chat.render(tokenizer, messages, tools=tools)
    assert (made.ids, made.mask) == (found["input_ids"], [bool(m) for m in found["assistant_masks"]])
    opened = theirs.apply_chat_template(messages[:-1], tools, add_generation_prompt=True, return_dict=False)
    assert chat.render(tokenizer, messages[:-1], reply=True, tools=tools).ids == opened


@pytest.mark.parametrize("case", [case for case in CASES if case[1] != "tools"], ids="-".join)
def test_an_answer_begins_where_the_reply_was_opened(pair, case):
    """What is learned is exactly what a model goes on with after the prompt."""
    tokenizer, _ = pair(case[0])
    messages, _ = TALKS[case[1]]
    prompt = chat.render(tokenizer, messages[:-1], reply=True).ids
    made = chat.render(tokenizer, messages)
    assert made.ids[: len(prompt)] == prompt
    assert made.mask[len(prompt) - 1] is False and made.mask[len(prompt)] is True


ENDS = {"llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "qwen3": "<|im_end|>", "vicuna": E, "mistral": E}


@pytest.mark.parametrize("name", ENDS)
def test_a_reply_ends_with_the_token_that_ends_a_turn(pair, name):
    tokenizer, _ = pair(name)
    assert tokenizer.id(ENDS[name]) in tokenizer.stops


def test_a_template_brings_the_special_tokens_it_needs(ours):
    made = ours.with_template("llama3")
    new = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    assert list(made.specials) == [*ours.specials, *new]
    assert [made.id(token) for token in new] == list(range(ours.vocab_size, ours.vocab_size + 3))
    assert ours.template == named("chatml").source and "<|eot_id|>" not in ours.specials
    assert ours.with_template("chatml").specials == ours.specials


def test_an_unknown_template_is_refused_with_the_nearest(ours):
    with pytest.raises(Refusal, match=r"one of those that come with viva, but found 'lama3'.*'llama3'"):
        ours.with_template("lama3")


def test_a_template_needs_the_begin_token_that_it_writes(ours):
    bare = Tokenizer(ours.core, {key: value for key, value in ours.config.items() if key != "bos_token"})
    with pytest.raises(Refusal, match="the bos_token that the chat template llama3 writes, but found no bos_token"):
        bare.with_template("llama3")
    assert chat.render(bare.with_template("vicuna"), TURNS).text.startswith("A chat")


SEVERAL = {
    "default": "{{ messages[0].content }}",
    "tool_use": "{{ tools[0].function.name }}: {{ messages[0].content }}",
}


@pytest.mark.parametrize("form", ["list", "files"])
def test_several_templates_by_name_are_read_and_kept(ours, tmp_path, form):
    """`tool_use` is taken when tools are given, as transformers does, whichever way they were saved."""
    ours.save(tmp_path / "from")
    config = json.loads((tmp_path / "from" / "tokenizer_config.json").read_text())
    config["chat_template"] = [{"name": name, "template": source} for name, source in SEVERAL.items()]
    (tmp_path / "from" / "tokenizer_config.json").write_text(json.dumps(config))
    if form == "files":
        AutoTokenizer.from_pretrained(tmp_path / "from").save_pretrained(tmp_path / "files")
        assert (tmp_path / "files" / "additional_chat_templates" / "tool_use.jinja").is_file()
    Tokenizer.load(tmp_path / ("from" if form == "list" else "files")).save(tmp_path / "saved")
    tokenizer, theirs = Tokenizer.load(tmp_path / "saved"), AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer.templates == SEVERAL
    asked = [{"role": "user", "content": "Hi"}]
    for tools, text in ((None, "Hi"), ([TOOL], "add: Hi")):
        made = chat.render(tokenizer, asked, tools=tools)
        assert made.text == text
        assert made.ids == theirs.apply_chat_template(asked, tools, return_dict=False)


def test_templates_left_in_a_folder_do_not_come_before_those_saved_there(ours, tmp_path):
    several = Tokenizer(ours.core, {**ours.config, "chat_template": SEVERAL})
    several.save(tmp_path)
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    ours.save(tmp_path)
    assert Tokenizer.load(tmp_path).templates == ours.templates
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == ours.template


def test_one_space_or_another_template_by_name_changes_the_fingerprint(ours):
    made_with = lambda found: Tokenizer(ours.core, {**ours.config, "chat_template": found}).fingerprint  # noqa: E731
    several = made_with(SEVERAL)
    with pytest.raises(Refusal, match="its template must be"):
        several.require(made_with({**SEVERAL, "tool_use": SEVERAL["tool_use"] + " "}), "the checkpoint")
    with pytest.raises(Refusal, match="its template must be"):
        made_with(SEVERAL["default"]).require(made_with(SEVERAL["default"] + " "), "the checkpoint")


def test_thoughts_go_by_any_of_their_names(pair):
    tokenizer, theirs = pair("qwen3")
    for name in ("reasoning_content", "thinking", "reasoning"):
        talk = [TURNS[0], {**TURNS[1], name: "hm 嗯"}]
        made = chat.render(tokenizer, talk)
        assert made.text.endswith("<think>\nhm 嗯\n</think>\n\nHello 🙂<|im_end|>\n")
        assert made.ids == theirs.apply_chat_template(talk, return_dict=False)
