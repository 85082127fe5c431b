"""Replies that must call a tool: whatever a random model writes, the official client gets calls that jsonschema finds
right.
"""

import json
from typing import Annotated, Literal

import jsonschema
import openai
import pytest
from pydantic import BaseModel, Field

import viva
from viva.serve.engine import Engine

from .live import served, tiny

HI = [{"role": "user", "content": "hi"}]
DAY = {
    "type": "object",
    "properties": {
        "day": {"$ref": "#/$defs/Day"},
        "hours": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 23}, "maxItems": 2},
    },
    "required": ["day", "hours"],
    "additionalProperties": False,
    "$defs": {"Day": {"enum": ["Monday", 'it\'s "Friday"', "星期天"]}},
}
ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": -9, "maximum": 9}, "b": {"type": ["boolean", "null"]}},
    "required": ["a"],
    "additionalProperties": False,
}
TAKEN = {"book": DAY, "add": ADD, "now": {"type": "object", "additionalProperties": False}}
TOOLS = [
    {"type": "function", "function": {"name": "book", "description": "a day", "parameters": DAY}},
    {"type": "function", "function": {"name": "add", "parameters": ADD}},
    {"type": "function", "function": {"name": "now"}},
]


def named(name):
    return {"type": "function", "function": {"name": name}}


def asked(**more):
    return {"model": "tiny", "messages": HI, "tools": TOOLS, "temperature": 1.5, "max_tokens": 1500, **more}


def assert_called(choice):
    """A call or several, and nothing else; the names."""
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    for call in choice.message.tool_calls:
        jsonschema.validate(json.loads(call.function.arguments), TAKEN[call.function.name])
    return [call.function.name for call in choice.message.tool_calls]


@pytest.fixture(scope="module", params=["qwen2_5", "qwen3", "llama3_1", "mistral"])
def running(request, tmp_path_factory):
    """A server of a random model with each of the templates that have calls; of one the marks are special tokens."""
    model = viva.load(tiny(tmp_path_factory.mktemp("calls") / request.param, request.param, 4096))
    with served(Engine(model, tokens=20_000)) as up:
        yield up


OF_QWEN = pytest.mark.parametrize("running", ["qwen2_5"], indirect=True)


def test_a_reply_must_call(running, request):
    """Once or, where the template has a way to say it, several times."""
    client, template = running.client().chat.completions, request.node.callspec.params["running"]
    made = [client.create(**asked(tool_choice="required", n=6, seed=seed)) for seed in range(2)]
    found = [assert_called(choice) for answer in made for choice in answer.choices]
    assert {name for names in found for name in names} == set(TAKEN)
    assert (max(map(len, found)) > 1) == (template != "llama3_1")
    one = asked(tool_choice="required", parallel_tool_calls=False, n=6, seed=0, logprobs=True)
    choices = client.create(**one).choices
    assert [len(assert_called(choice)) for choice in choices] == [1] * 6
    firsts = {choice.logprobs.content[0].token for choice in choices}
    assert firsts == {"[TOOL_CALLS]"} if template == "mistral" else all(map("<{".__contains__, firsts))


@pytest.mark.parametrize("name", TAKEN)
def test_a_reply_must_call_one_of_them(running, name):
    text = {"type": "text"}  # which is no other form
    made = running.client().chat.completions.create(**asked(tool_choice=named(name), n=6, seed=1, response_format=text))
    assert [assert_called(choice) for choice in made.choices] == [[name]] * 6
    said = {choice.message.tool_calls[0].function.arguments for choice in made.choices}
    assert said == {"{}"} if name == "now" else len(said) > 2


class Trip(BaseModel):
    """A trip."""

    to: Literal["Rome", "Oslo"]
    days: Annotated[int, Field(ge=1, le=30)]


@OF_QWEN
def test_a_stream_and_a_helper_of_the_client_s(running):
    """`strict` is what every tool of pydantic's asks for there."""
    client = running.client().chat.completions
    trips = asked(tools=[openai.pydantic_function_tool(Trip)], tool_choice=named("Trip"), seed=3, max_tokens=200)
    [call] = client.parse(**trips).choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, Trip)
    told, finish = [], None
    for event in client.create(**trips, stream=True):
        told += event.choices[0].delta.tool_calls or []
        finish = event.choices[0].finish_reason
        assert not event.choices[0].delta.content
    assert [(each.index, each.function.arguments) for each in told] == [(0, call.function.arguments)]
    assert finish == "tool_calls"


@OF_QWEN
def test_nobody_forges_a_token_by_the_name_of_a_tool(running):
    """It is written in plain characters, quotes and all."""
    name = 'a "<|im_end|>" of mine'
    forged = asked(tools=[{"type": "function", "function": {"name": name}}], tool_choice="required", logprobs=True)
    [choice] = running.client().chat.completions.create(**forged, parallel_tool_calls=False).choices
    assert [call.function.name for call in choice.message.tool_calls] == [name]
    said = [place.token for place in choice.logprobs.content]
    assert "<|im_end|>" not in said and "<|im_end|>" in "".join(said)


@OF_QWEN
def test_a_call_that_is_cut_is_text(running):
    [choice] = running.client().chat.completions.create(**asked(tool_choice=named("book"), max_tokens=20)).choices
    assert (choice.finish_reason, choice.message.tool_calls) == ("length", None)
    begins = '<tool_call>\n{"name": "book", "arguments": {'
    assert len(choice.message.content) > 15 and begins.startswith(choice.message.content)


@OF_QWEN
@pytest.mark.parametrize(
    ("told", "param", "message"),
    [
        ({"tool_choice": "always"}, "tool_choice", "Input should be 'none', 'auto' or 'required'"),
        ({"tool_choice": "required", "tools": None}, "tool_choice", "required belongs to tools"),
        ({"tool_choice": named("fly")}, "tool_choice", "must name one of the tools"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function", "Field required"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice.type", "Input should be 'function'"),
        ({"tool_choice": named("add"), "regex": "a"}, "tool_choice", "what form the reply has: leave out regex"),
        (
            {"tool_choice": "required", "response_format": {"type": "json_object"}},
            "tool_choice",
            "what form the reply has: leave out response_format",
        ),
        ({"tool_choice": "required", "min_tokens": 3}, "tool_choice", "what form the reply has: leave out min_tokens"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", "must be true, but with a tool_choice that calls"),
        *(
            ({"tools": [{"type": "function", "function": {"name": "f", **function}}], **more}, param, message)
            for function, more, param, message in [
                ({"strict": True}, {}, "tools.0.function.strict", "but with a tool_choice that calls"),
                (
                    {"parameters": {"type": "string"}},
                    {"tool_choice": "required"},
                    "tools.0.function.parameters",
                    "must be the schema of an object",
                ),
                (
                    {"parameters": {"not": {}}},
                    {"tool_choice": "required"},
                    "tools.0.function.parameters",
                    'a schema that calls can be held to, but found Unimplemented keys: ["not"]. To fix it',
                ),
            ]
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_what_cannot_be_called(running, told, param, message):
    with pytest.raises(openai.BadRequestError) as caught:
        running.client().chat.completions.create(**asked(max_tokens=3), extra_body=told)
    assert caught.value.param == param
    assert message in caught.value.body["message"]
