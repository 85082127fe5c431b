"""What is no conversation is refused, each in its sentence, and nothing of one is left out without a word."""

import pytest
from transformers import AutoTokenizer

from viva.base.errors import Notice, Refusal
from viva.text.talk import chat
from viva.text.tokens.tokenizer import Tokenizer

USER, ASSISTANT = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
SYSTEM = {"role": "system", "content": "s"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}
CALLING = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "add", "arguments": {"x": 1}}}]}
RESULT = {"role": "tool", "content": "2", "tool_call_id": "1"}


def called(**changes):
    call = {"name": "add", "arguments": {}, **changes}
    return [USER, {"role": "assistant", "tool_calls": [{"function": call}]}]


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"x": value}
    return value


PARTS = "or a list of parts of text, but found"
BAD = {
    "empty": ([], r"must be a list of at least one message, but found \[\]"),
    "a role in a typo": (
        [USER, {"role": "assisstant", "content": "b"}],
        "message 1 must have a known role.*'assistant'",
    ),
    "a list as role": ([{"role": ["user"], "content": "b"}], r"must have a known role, but found \['user'\]"),
    "two systems": ([SYSTEM, SYSTEM, USER], "must be the only one and come first, but found 2 of them"),
    "late system": ([USER, SYSTEM], "must be the only one and come first, but found it as message 1"),
    "assistant first": ([ASSISTANT, USER], "the assistant must answer a user.*but found the roles assistant, user"),
    "assistant after system": ([SYSTEM, ASSISTANT], "the assistant must answer a user.*the roles system, assistant"),
    "result first": (
        [RESULT, USER],
        r"message 0, a tool's result, must follow .* no call before it \(roles: tool, user\)",
    ),
    "result of no call": (
        [USER, ASSISTANT, RESULT],
        "message 2, a tool's result, must follow the assistant's call of it",
    ),
    "result of another": (
        [USER, CALLING, {**RESULT, "tool_call_id": "9"}],
        "message 2, a tool's result.*but found the tool_call_id '9', called were '1'",
    ),
    "no content": ([USER, {"role": "assistant", "content": None}], rf"message 1 must have a string.* {PARTS} None"),
    "no parts": ([{"role": "user", "content": []}], rf"message 0 must have a string as its content, {PARTS} \[\]"),
    "an image": (
        [{"role": "user", "content": [{"type": "image", "url": "x"}]}],
        rf"message 0 must have a string.* {PARTS} \[\{{'type': 'image'",
    ),
    "half a character": ([{"role": "user", "content": "a\ud83d"}], "message 0 must have whole Unicode.*at character 1"),
    "a user's call": ([{**CALLING, "role": "user", "content": "a"}], "message 0 must be the assistant's to call tools"),
    "calls in no list": ([USER, {**CALLING, "tool_calls": {"name": "add"}}], "message 1 must have a list of calls"),
    "a call without a name": (called(name=None), "message 1 must have a list of calls.*each with a name and arguments"),
    "a call without arguments": (called(arguments=None), "message 1 must have a list of calls"),
    "a deep call": (called(arguments=nested(2000)), "tool_calls of message 1 must be nested 100 deep at most"),
    "a call of what is no JSON": (called(arguments={"x": {1}}), "tool_calls of message 1 must be what JSON can say"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_conversation_is_refused(ours, case):
    messages, says = BAD[case]
    with pytest.raises(Refusal, match=says):
        chat.render(ours.with_template("qwen2_5"), messages)


BAD_TOOLS = {
    "no list": (TOOL, r"tools must come in a list, but found \{"),
    "a name alone": (["add"], "tool 0 must be a JSON schema with a name, but found 'add'"),
    "no name": ([TOOL, {"type": "function"}], "tool 1 must be a JSON schema with a name"),
    "no JSON": ([{"name": "add", "parameters": {1, 2}}], "tool 0 must be what JSON can say"),
    "very deep": (
        [{"name": "add", "parameters": nested(100)}],
        "tool 0 must be nested 100 deep at most, but found more",
    ),
    "deeper than the stack": ([{"name": "add", "parameters": nested(5000)}], "tool 0 must be nested 100 deep at most"),
}


@pytest.mark.parametrize("case", BAD_TOOLS)
def test_what_is_no_tool_is_refused(ours, case):
    tools, says = BAD_TOOLS[case]
    with pytest.raises(Refusal, match=says):
        chat.render(ours.with_template("qwen2_5"), [USER], tools=tools)


def test_a_tool_may_be_as_deep_as_that(ours):
    told = chat.render(ours.with_template("qwen2_5"), [USER], tools=[{"name": "add", "parameters": nested(99)}])
    assert '{"x": ' * 98 + "{}" + "}" * 98 in told.text


FULL = [USER, {**CALLING, "content": "let me see"}, RESULT, ASSISTANT]
LOST = {
    "tools": ("llama3", [USER], [TOOL], "must write the tool 'add', but found nothing.*has a form for tools"),
    "a call": ("llama3", [USER, CALLING, RESULT], None, "must write the tool calls of message 1"),
    "a call of chatml": ("chatml", [USER, {**CALLING, "content": ""}, RESULT], None, "the tool calls of message 1"),
    "what is said with a call": ("llama3_1", FULL, [TOOL], r"must write the content of message 1 \(assistant\)"),
    "no system at all": ("gemma", [SYSTEM, USER], None, "this model has no system message.*roles: system, user"),
    "results": ("llama2", [USER, CALLING, RESULT], None, "fit the model's chat template"),
}


@pytest.mark.parametrize("case", LOST)
def test_what_a_template_would_leave_out_is_refused(ours, case):
    name, messages, tools, says = LOST[case]
    with pytest.raises(Refusal, match=says):
        chat.render(ours.with_template(name), messages, tools=tools)


def _with(ours, template):
    return Tokenizer(ours.core, {**ours.config, "chat_template": template})


def test_a_system_message_that_a_template_drops_is_refused(ours):
    """Some published templates write it only where the last message is the user's."""
    source = (
        "{% for m in messages if m.role != 'system' %}{% if loop.last and m.role == 'user' and messages[0].role == "
        "'system' %}{{ messages[0].content }}{% endif %}{{ m.content }}{% endfor %}"
    )
    tokenizer = _with(ours, source)
    assert chat.render(tokenizer, [SYSTEM, USER], reply=True).text == "sa"
    with pytest.raises(
        Refusal, match=r"must write the content of message 0 \(system\).*has a form for the role system"
    ):
        chat.render(tokenizer, [SYSTEM, USER, ASSISTANT])


def test_a_dropped_text_is_found_out_though_the_same_words_stand_elsewhere(ours):
    tokenizer = _with(ours, "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}")
    with pytest.raises(Refusal, match=r"must write the content of message 0 \(system\)"):
        chat.render(tokenizer, [{**SYSTEM, "content": "a"}, USER])


def test_parts_are_for_templates_that_know_them(ours, tmp_path):
    parts = [{"role": "user", "content": [{"type": "text", "text": "one, "}, {"type": "text", "text": "二"}]}]
    source = (
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for part in m.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}"
    )
    _with(ours, source).save(tmp_path)
    made = chat.render(Tokenizer.load(tmp_path), parts)
    assert made.text == "one, 二"
    assert made.ids == AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(parts, return_dict=False)
    with pytest.raises(Refusal, match=r"must know parts to write message 0, but found a list of them.*as one string"):
        chat.render(ours.with_template("llama3"), parts)  # | trim would write Python's brackets
    with pytest.raises(Refusal, match="must fit the model's chat template"):
        chat.render(ours.with_template("chatml"), parts)


def test_arguments_as_text_are_for_templates_that_take_them(ours):
    """Qwen2.5's template would put the text between quotation marks once more."""
    talk = called(arguments='{"x": 1}')
    assert '"arguments": {"x": 1}}' in chat.render(ours.with_template("qwen3"), talk).text
    with pytest.raises(Refusal, match=r"the arguments of message 1's call must be an object.*give the object itself"):
        chat.render(ours.with_template("qwen2_5"), talk)


def test_a_role_of_the_templates_own_is_known(ours):
    source = "{% for m in messages %}{{ '#' if m.role == 'developer' else '' }}{{ m.content }}{% endfor %}"
    talk = [{"role": "developer", "content": "be brief"}, USER]
    assert chat.render(_with(ours, source), talk).text == "#be briefa"
    with pytest.raises(Refusal, match="message 0 must have a known role, but found 'developer'"):
        chat.render(ours, talk)


def test_thoughts_that_are_left_out_are_said(ours):
    with pytest.warns(Notice, match="the chat template leaves out reasoning_content of some turns"):
        chat.render(ours, [USER, {**ASSISTANT, "reasoning_content": "hm"}])
    inside = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"}
    with pytest.warns(Notice, match="writes some of the assistant's turns in part alone"):
        chat.render(ours.with_template("qwen3"), [USER, inside, USER, ASSISTANT])


def test_a_conversation_without_loss_says_nothing(ours, recwarn):
    for name in ("chatml", "llama3", "qwen3", "vicuna"):
        chat.render(ours.with_template(name), [SYSTEM, USER, {**ASSISTANT, "content": " b\n"}])
    assert not [warning for warning in recwarn if issubclass(warning.category, Notice)]
