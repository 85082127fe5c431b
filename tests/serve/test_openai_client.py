"""The official client of OpenAI's API drives the server; what it gets is what the model says when asked alone."""

import asyncio
import base64
import json
import struct

import httpx2
import openai
import pytest
import torch
import transformers

import viva
from viva.text.tokens.templates import named

HI = [{"role": "user", "content": "hi"}]
COLD = {"temperature": 0, "max_tokens": 20}
ADD = {
    "type": "function",
    "function": {"name": "add", "description": "a + b", "parameters": {"type": "object", "properties": {}}},
}


def alone(model, prompt, **more):
    return model.generate(prompt, **{"temperature": 0, "max_new_tokens": 20, **more})


def test_a_conversation(server, model):
    made = server.client().chat.completions.create(model="tiny", messages=HI, **COLD)
    [choice] = made.choices
    assert choice.message.content == alone(model, HI) and choice.message.role == "assistant"
    assert choice.finish_reason == "length" and choice.logprobs is None and choice.message.tool_calls is None
    read = len(model.ids(HI))
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (read, 20, read + 20)
    assert made.object == "chat.completion" and made.id.startswith("chatcmpl-") and made.model == "tiny"


def test_a_stream(server, model):
    events = server.client().chat.completions.create(model="tiny", messages=HI, stream=True, **COLD)
    assert "".join(event.choices[0].delta.content or "" for event in events) == alone(model, HI)


def test_the_events_are_those_that_openai_sends(server, model):
    """Role, changes, reason, usage, [DONE]; only the keys that its documentation shows, in each of them."""
    asked = {"model": "tiny", "messages": HI, "stream": True, "stream_options": {"include_usage": True}, **COLD}
    with httpx2.stream("POST", f"{server.url}/v1/chat/completions", json={**asked, "max_tokens": 2}) as answer:
        assert answer.headers["content-type"].split(";")[0] == "text/event-stream"
        assert "content-length" not in answer.headers
        *lines, done, end = answer.read().decode().split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    head = {"id": events[0]["id"], "object": "chat.completion.chunk", "created": events[0]["created"], "model": "tiny"}
    first, second = (model.tokenizer.decode([token]) for token in _greedy(model, model.ids(HI), 2))
    deltas = [({"role": "assistant", "content": ""}, None), ({"content": first}, None), ({"content": second}, None)]
    expected = [
        {**head, "usage": None, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": why}]}
        for delta, why in [*deltas, ({}, "length")]
    ]
    read = len(model.ids(HI))
    usage = {"prompt_tokens": read, "completion_tokens": 2, "total_tokens": read + 2}
    assert events == [*expected, {**head, "choices": [], "usage": usage}]


def _greedy(model, ids, count):
    """By a forward pass of the whole text for each token."""
    for _ in range(count):
        ids = [*ids, int(model([ids])[0, -1].argmax())]
    return ids[-count:]


def test_many_at_once(server, model):
    """Each gets its own answer, whoever stands beside it."""
    talks = [[{"role": "user", "content": word * (1 + i % 5)}] for i, word in enumerate(["some", "words", "to "] * 8)]

    async def ask():
        client = server.client(openai.AsyncOpenAI)

        async def one(talk, stream):
            told = await client.chat.completions.create(model="tiny", messages=talk, stream=stream, **COLD)
            if not stream:
                return told.choices[0].message.content
            return "".join([event.choices[0].delta.content or "" async for event in told])

        return await asyncio.gather(*(one(talk, i % 2 == 0) for i, talk in enumerate(talks)))

    assert asyncio.run(ask()) == [alone(model, talk) for talk in talks]
    server.settle()


def test_a_seed_and_several_replies(server, model):
    asked = {"model": "tiny", "messages": HI, "seed": 5, "n": 3, "max_tokens": 12, "temperature": 0.9, "top_p": 0.9}
    made = server.client().chat.completions.create(**asked)
    texts = [choice.message.content for choice in made.choices]
    assert texts[0] == alone(model, HI, temperature=0.9, top_p=0.9, seed=5, max_new_tokens=12)
    assert len(set(texts)) == 3 and made.usage.completion_tokens == 36
    streamed = ["", "", ""]
    for event in server.client().chat.completions.create(**asked, stream=True):
        streamed[event.choices[0].index] += event.choices[0].delta.content or ""
    assert streamed == texts


def test_log_probabilities(server, model):
    """Those of a forward pass of the whole text."""
    asked = {"model": "tiny", "messages": HI, "logprobs": True, "top_logprobs": 3, **COLD}
    told = server.client().chat.completions.create(**asked).choices[0].logprobs.content
    ids, tokenizer = model.ids(HI), model.tokenizer
    for place in told:
        logs = model([ids])[0, -1].log_softmax(-1)
        best, tokens = logs.topk(3)
        torch.testing.assert_close(torch.tensor([top.logprob for top in place.top_logprobs]), best, atol=1e-4, rtol=0)
        assert [bytes(top.bytes) for top in place.top_logprobs] == [tokenizer.decode_bytes([t]) for t in tokens]
        assert (place.bytes, place.logprob) == (place.top_logprobs[0].bytes, place.top_logprobs[0].logprob)
        ids = [*ids, int(tokens[0])]
    spelled = b"".join(bytes(place.bytes) for place in told)
    assert spelled.decode("utf-8", "replace") == alone(model, HI)
    streamed = []
    for event in server.client().chat.completions.create(**asked, stream=True):
        streamed += event.choices[0].logprobs.content if event.choices[0].logprobs else []
    assert streamed == told


def test_bias_stops_and_the_least(server, model):
    client = server.client().chat.completions
    wanted, end = model.tokenizer.encode("w")[0], model.tokenizer.id("<|im_end|>")
    made = client.create(model="tiny", messages=HI, max_tokens=4, logit_bias={str(wanted): 100})
    assert made.choices[0].message.content == "wwww"
    made = client.create(model="tiny", messages=HI, max_tokens=4, logit_bias={str(end): 100}, logprobs=True)
    [choice] = made.choices
    assert (choice.message.content, choice.finish_reason) == ("", "stop")
    assert made.usage.completion_tokens == 1 and choice.logprobs.content == []  # the end counts, and is not told
    more = {"min_tokens": 3}
    made = client.create(model="tiny", messages=HI, max_tokens=9, logit_bias={str(end): 100}, extra_body=more)
    assert made.usage.completion_tokens == 4 and made.choices[0].finish_reason == "stop"
    whole = alone(model, HI)
    made = client.create(model="tiny", messages=HI, stop=whole[7:9], **COLD)
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == (
        whole[: whole.index(whole[7:9])],
        "stop",
    )


@pytest.mark.parametrize(
    ("told", "ahead", "said"),
    [
        ({"frequency_penalty": 2}, 2.9, "wwxwxw"),  # w: 0 -2 -4; x: -2.9 -4.9; and so on by turns
        ({"presence_penalty": 2}, 2.9, "wwwwww"),  # w: 0 -2 -2
        ({"presence_penalty": 2}, 1.1, "wxwwww"),  # w: 0 -2; x: -1.1 -3.1
        ({"frequency_penalty": 0.5, "presence_penalty": 0.5}, 1.75, "wwwxww"),  # w: 0 -1 -1.5 -2 -2.5; x: -1.75 -2.75
        ({"frequency_penalty": 0, "presence_penalty": None}, 1.1, "wwwwww"),
    ],
)
def test_penalties(server, model, told, ahead, said):
    """By a bias nothing but w and x can be, w by so much ahead; what the model says of them is next to nothing."""
    w, x = (str(model.tokenizer.encode(letter)[0]) for letter in "wx")
    asked = {"model": "tiny", "max_tokens": 6, "logit_bias": {w: 100, x: 100 - ahead}, "temperature": 0, **told}
    assert server.client().chat.completions.create(messages=HI, **asked).choices[0].message.content == said
    assert server.client().completions.create(prompt="wwxx", **asked).choices[0].text == said


def test_texts_are_continued(server, model):
    """Texts and ids, and log-probabilities in the older form."""
    client, ids = server.client().completions, model.ids("some")
    made = client.create(model="tiny", prompt=["some", "words"], temperature=0, n=2)
    assert [choice.text for choice in made.choices] == [
        alone(model, text, max_new_tokens=16) for text in ("some", "some", "words", "words")
    ]
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    assert client.create(model="tiny", prompt=ids, temperature=0).choices[0].text == made.choices[0].text
    events = list(client.create(model="tiny", prompt="some", temperature=0, stream=True))
    assert "".join(event.choices[0].text for event in events) == made.choices[0].text
    assert events[-1].choices[0].finish_reason == "length"
    told = client.create(model="tiny", prompt="some", temperature=0, logprobs=2, max_tokens=3).choices[0].logprobs
    assert told.tokens == [model.tokenizer.decode([token]) for token in _greedy(model, ids, 3)]
    assert told.text_offset == [0, len(told.tokens[0]), len(told.tokens[0] + told.tokens[1])]
    logs = model([ids])[0, -1].log_softmax(-1)
    assert told.token_logprobs[0] == pytest.approx(float(logs.max()), abs=1e-4)


def test_an_adapter_is_asked_by_its_name(server, model, changed):
    names = [known.id for known in server.client().models.list()]
    assert names == ["tiny", "changed", "vectors"]
    assert server.client().models.retrieve("changed").parent == "tiny"
    adapted = alone(model.with_adapter(changed), HI)
    made = server.client().chat.completions.create(model="changed", messages=HI, **COLD)
    assert made.choices[0].message.content == adapted != alone(model, HI)
    with pytest.raises(openai.NotFoundError, match="model must be one of changed, tiny, but is 'gpt-4'"):
        server.client().chat.completions.create(model="gpt-4", messages=HI)


def test_vectors(server, encoder):
    """The client asks for base64 unless told; both forms are the model's own numbers."""
    texts = ["some words", "to merge"]
    made = server.client().embeddings.create(model="vectors", input=texts)
    own = encoder.embed(texts)
    torch.testing.assert_close(torch.tensor([each.embedding for each in made.data]), own, atol=0, rtol=0)
    assert made.usage.prompt_tokens == sum(len(e.ids) for e in encoder.tokenizer.encode_framed(texts))
    url, asked = f"{server.url}/v1/embeddings", {"model": "vectors", "input": "some words"}
    [plain] = httpx2.post(url, json=asked).json()["data"]
    torch.testing.assert_close(torch.tensor(plain["embedding"]), own[0])
    [packed] = httpx2.post(url, json={**asked, "encoding_format": "base64"}).json()["data"]
    vector = struct.unpack(f"<{own.shape[1]}f", base64.b64decode(packed["embedding"]))
    assert list(vector) == own[0].tolist()
    [long] = encoder.tokenizer.encode_framed(["some words " * 60])
    with pytest.raises(openai.BadRequestError) as caught:
        server.client().embeddings.create(model="vectors", input=["short", "some words " * 60])
    assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")
    said = f"input must have texts of at most 64 tokens, but has {len(long.ids)} in text 1"
    assert caught.value.body["message"] == f"{said}: shorten it, or send it in parts"


def test_tools_are_called_and_answered(scripted, model):
    """A call is read out of the reply, and goes back with its result as the template writes both."""
    client = scripted.client().chat.completions
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    scripted.engine.script = f"I add.\n{call}\n{call.replace('1', '7')}"
    made = client.create(model="tiny", messages=HI, tools=[ADD])
    [choice] = made.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", "I add.")
    names = [(each.function.name, json.loads(each.function.arguments)) for each in choice.message.tool_calls]
    assert names == [("add", {"a": 1, "b": 2}), ("add", {"a": 7, "b": 2})]
    calls, said, finish = {}, "", None
    for event in client.create(model="tiny", messages=HI, tools=[ADD], stream=True):
        delta, finish = event.choices[0].delta, event.choices[0].finish_reason
        said += delta.content or ""
        for part in delta.tool_calls or []:
            calls[part.index] = (part.function.name, json.loads(part.function.arguments))
    assert (said, finish, list(calls.values())) == ("I add.", "tool_calls", names)
    result = {"role": "tool", "tool_call_id": choice.message.tool_calls[0].id, "content": "3"}
    scripted.engine.script = "3"
    made = client.create(model="tiny", messages=[*HI, choice.message, result], tools=[ADD])
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("3", "stop")
    twin = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model.tokenizer.core, chat_template=named("qwen2_5").source
    )
    talked = [
        *HI,
        {
            "role": "assistant",
            "content": "I add.",
            "tool_calls": [{"function": {"name": n, "arguments": a}} for n, a in names],
        },
        {"role": "tool", "content": "3"},
    ]
    expected = twin.apply_chat_template(talked, tools=[ADD], add_generation_prompt=True, tokenize=False)
    assert model.tokenizer.decode(scripted.engine.heard[-1]) == expected


def test_tools_stay_out_of_the_prompt_where_none_is_to_be_called(scripted, model):
    scripted.engine.script = "<tool_call>"
    made = scripted.client().chat.completions.create(model="tiny", messages=HI, tools=[ADD], tool_choice="none")
    assert made.choices[0].message.content == "<tool_call>" and made.choices[0].finish_reason == "stop"
    assert scripted.engine.heard[-1] == model.ids(HI)


@pytest.mark.parametrize("more", [{}, {"tool_choice": "required"}])
def test_a_template_without_tools_refuses_them(tmp_path, more):
    from .live import Scripted, served, tiny

    with (
        served(Scripted(viva.load(tiny(tmp_path / "plain", "chatml")), tokens=4096)) as running,
        pytest.raises(openai.BadRequestError, match="must write calls of tools as JSON objects") as refused,
    ):
        running.client().chat.completions.create(model="tiny", messages=HI, tools=[ADD], **more)
    assert refused.value.param == "tools"
