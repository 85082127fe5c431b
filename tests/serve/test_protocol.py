"""What is refused, in which words and by which field; keys, the log, what Prometheus is told, the page."""

import json
import random
import re
import time

import httpx2
import jsonschema
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

import viva
from viva.base.errors import Refusal
from viva.infer.engine.engine import Core
from viva.serve import keys, page
from viva.serve.embedding import Embedder
from viva.serve.limits import Limits

from .live import Scripted, served, tiny

HI = [{"role": "user", "content": "hi"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "[1]"}}
KEY = "a key of some length"


def post(server, route, **body):
    return httpx2.post(f"{server.url}/v1/{route}", json=body, timeout=60)


def chat(server, **more):
    return post(server, "chat/completions", **{"model": "tiny", "messages": HI, "max_tokens": 3, **more})


def test_the_form_of_an_error_is_openais(server):
    answer = chat(server, temperature=3)
    expected = {"type": "invalid_request_error", "param": "temperature", "code": None}
    message = "temperature: Input should be less than or equal to 2"
    assert (answer.status_code, answer.json()) == (400, {"error": {"message": message, **expected}})


@pytest.mark.parametrize(
    ("told", "param", "message"),
    [
        ({"max_token": 3}, "max_token", "unknown key 'max_token'; use 'max_tokens' (the nearest)"),
        (
            {"max_tokens": 10**9},
            "max_tokens",
            "max_tokens must be at most 928 beside 97 tokens of messages, but is 10000",
        ),
        ({"max_tokens": None, "max_completion_tokens": 9999}, "max_completion_tokens", "must be at most 928"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"max_tokens": "3"}, "max_tokens", "Input should be a valid integer"),
        ({"temperature": 1e-5}, "temperature", "must be 0, or 0.001 at least"),
        ({"temperature": True}, "temperature", "'temperature' is no switch, but was given True"),
        ({"n": 129}, "n", "less than or equal to 128"),
        ({"frequency_penalty": 2.5}, "frequency_penalty", "less than or equal to 2"),
        ({"presence_penalty": -3}, "presence_penalty", "greater than or equal to -2"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", "String should match pattern"),
        ({"logit_bias": {"4000": 1}}, "logit_bias", "logit_bias must have ids below 280, but has 4000"),
        ({"stop_token_ids": [4000]}, "stop_token_ids", "stop_token_ids must have ids below 280, but has 4000"),
        ({"stop": [""]}, "stop.0", "at least 1 character"),
        ({"stop": ["a"] * 17}, "stop", "16 strings at most"),
        ({"min_tokens": 9}, "min_tokens", "min_tokens must be at most 3"),
        ({"min_tokens": 2, "choice": ["a"]}, "min_tokens", "choice says where a reply may end: leave min_tokens out"),
        ({"min_tokens": 2, "regex": "a"}, "min_tokens", "regex says where a reply may end: leave min_tokens out"),
        ({"top_logprobs": 2}, "top_logprobs", "top_logprobs belongs to logprobs: true"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream_options belongs to stream: true"),
        ({"functions": [{"name": "f"}]}, "functions", "is not supported here: leave it out"),
        ({"store": True}, "store", "is not supported here: leave it out, or give false"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "belongs to type json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "Input should be 'text', 'json_object' or"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "any", "schema": {}}}, "min_tokens": 2},
            "min_tokens",
            "response_format says where a reply may end: leave min_tokens out",
        ),
        ({"regex": "(a{1000}){1000}"}, "regex", "could not be followed: lexer error: too many expressions"),
        ({"regex": "("}, "regex", "regex must be one that replies can be held to, but found"),
        ({"regex": r"[^\s\S]"}, "regex", "could not be followed: no text has this form"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role", "Input should be 'system'"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content", "Input should be a valid"),
        (
            {"messages": [*HI, {"role": "system", "content": "a"}]},
            "messages",
            "a system message must be the only one and",
        ),
        (
            {"messages": [*HI, {"role": "assistant", "tool_calls": [CALL]}]},
            "messages",
            "arguments of a call must be a JSON",
        ),
        ({"messages": [{**HI[0], "name": "Ann"}]}, "messages.0.name", "name is told of a tool alone"),
        *(
            ({"messages": [{"role": role, "content": "a", field: "b"}, *HI]}, f"messages.0.{field}", message)
            for role, field, message in (
                ("user", "tool_call_id", "tool_call_id is told of a tool alone"),
                ("assistant", "tool_call_id", "tool_call_id is told of a tool alone"),
                ("user", "reasoning_content", "reasoning_content is told of the assistant alone"),
            )
        ),
        (
            {"messages": [*HI, {"role": "assistant", "content": "a", "reasoning_content": "b"}, *HI]},
            "messages.1.reasoning_content",
            "reasoning_content has no place in this model's chat template: leave it out",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0.image_url",
            "unknown key 'image_url'",
        ),
        (
            {"messages": [{"role": "user", "content": "w " * 2000}]},
            "messages",
            "messages must have at most 1024 tokens",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)
def test_a_wrong_field_is_named(server, told, param, message):
    answer = chat(server, **told)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert message in error["message"]


@pytest.mark.parametrize(
    ("told", "param", "message"),
    [
        ({"echo": True}, "echo", "is not supported here: leave it out, or give false"),
        ({"suffix": "end"}, "suffix", "is not supported here: leave it out"),
        ({"best_of": 2}, "best_of", "less than or equal to 1"),
        ({"prompt": []}, "prompt", "at least 1 item"),
        ({"prompt": [5, 4000]}, "prompt", "the ids of a prompt must be in [0, 280), but found 5 to 4000"),
        ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
    ],
)
def test_a_wrong_field_of_a_text_is_named(server, told, param, message):
    answer = post(server, "completions", **{"model": "tiny", "prompt": "some", **told})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert message in answer.json()["error"]["message"]


def test_of_too_many_replies_the_field_that_asks_for_them_is_named(server):
    most = server.service.places.most
    for told, param in (({"prompt": ["a"] * 2000}, "prompt"), ({"prompt": ["a"] * 3, "n": 128}, "n")):
        error = post(server, "completions", **{"model": "tiny", **told}).json()["error"]
        count = len(told["prompt"]) * told.get("n", 1)
        assert error["param"] == param
        assert error["message"] == f"{param}: one request may have {most} replies here, but asks for {count}"


def test_vectors_that_take_too_long(model, encoder, monkeypatch):
    """Of texts that are not read yet none is read any more."""
    read, limits = [], Limits(timeout=0.3)

    def slowly(model, texts):
        for _ in texts:
            time.sleep(0.1)
            read.append(1)
            yield torch.zeros(1, 8)

    embedder = Embedder(encoder, "vectors", limits)
    monkeypatch.setattr(type(encoder), "vectors", slowly)
    with served(Scripted(model, tokens=1024), limits, embedder=embedder) as running:
        answer = post(running, "embeddings", model="vectors", input=["some words"] * 50)
        error = answer.json()["error"]
        assert (answer.status_code, error["message"]) == (504, "a request must be answered within 0.3 s here")
        assert error["code"] == "timeout"
        time.sleep(0.4)  # an answer is read before its place is free again
        assert not embedder.places.taken
    assert 0 < len(read) < 10


def test_vectors_have_places_of_their_own(model, encoder):
    """Who finds none is told so before the request is read."""
    embedder = Embedder(encoder, "vectors", Limits(queue=0))
    with served(viva.Engine(model, tokens=1024), embedder=embedder) as running:
        ask = lambda: httpx2.post(f"{running.url}/v1/embeddings", content=b"{").status_code  # noqa: E731
        free = ask()
        embedder.places.take(1)
        assert (free, ask(), post(running, "chat/completions", model=1).status_code) == (400, 429, 400)


def test_what_is_not_set_may_be_null(server):
    assert (
        chat(server, stop=None, tools=None, functions=None, audio=None, seed=None, store=False, n=1).status_code == 200
    )


def test_parts_of_text_and_developers_are_what_they_mean(server, model):
    parts = [{"role": "developer", "content": "brief"}, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    said = chat(server, messages=parts, temperature=0, max_tokens=9).json()["choices"][0]["message"]["content"]
    plain = [{"role": "system", "content": "brief"}, *HI]
    assert said == model.chat(plain, temperature=0, max_new_tokens=9)


def test_reasoning_is_taken_where_the_template_has_a_place_for_it(tmp_path):
    """It stands in what is read, as transformers' users of this template know it."""
    loaded = viva.load(tiny(tmp_path / "thinks", "qwen3"))
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    thought = {"role": "assistant", "content": "", "reasoning_content": "words to learn", "tool_calls": [call]}
    with served(Scripted(loaded, tokens=2048)) as running:
        running.engine.script = "some"
        answer = chat(running, messages=[*HI, thought, {"role": "tool", "content": "5", "tool_call_id": "c1"}])
        assert answer.status_code == 200, answer.text
        read = loaded.tokenizer.decode(running.engine.heard[0])
    assert "<think>\nwords to learn\n</think>" in read


def test_replies_have_the_form_that_was_asked_for(server):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"enum": ["x", "yz"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "pair", "schema": schema, "strict": True}}
    answer = chat(server, response_format=form, seed=1, n=3, max_tokens=200, temperature=1.5).json()
    for choice in answer["choices"]:
        assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(choice["message"]["content"]), schema)
    digits = {str(server.engine.ids("7")[-1]): 100}
    for schema, begins in (({}, "7"), ({"type": "object"}, "{")):  # {} allows any JSON, a number too
        form = {"type": "json_schema", "json_schema": {"name": "any", "schema": schema}}
        answer = chat(server, response_format=form, logit_bias=digits, max_tokens=9, temperature=0).json()
        assert answer["choices"][0]["message"]["content"].startswith(begins)
    told = post(server, "completions", model="tiny", prompt="some", regex="[ab]{3}", max_tokens=9).json()
    assert re.fullmatch("[ab]{3}", told["choices"][0]["text"])
    told = post(server, "completions", model="tiny", prompt="some", choice=["yes", "no"], max_tokens=9).json()
    assert told["choices"][0]["text"] in ("yes", "no")
    anything = chat(server, response_format={"type": "json_object"}, logit_bias={"93": 100}, max_tokens=300).json()
    assert anything["choices"][0]["message"]["content"].startswith("{")


def test_a_schema_that_would_take_long_to_compile_is_refused(server):
    """Its fuel is spent; a tenth of it is taken."""
    words = random.Random(1)
    for values, status in ((10_000, 200), (100_000, 400)):
        schema = {"enum": [words.randbytes(9).hex() for _ in range(values)]}
        answer = chat(server, response_format={"type": "json_schema", "json_schema": {"name": "one", "schema": schema}})
        assert answer.status_code == status, answer.text[:300]
    error = answer.json()["error"]
    assert error["param"] == "response_format"
    assert "json_schema must be one that replies can be held to, but found" in error["message"]
    assert "too big (limit for this grammar: 500000)" in error["message"]


def test_unknown_paths_and_methods(server):
    assert httpx2.get(f"{server.url}/v2/models").json()["error"]["type"] == "not_found_error"
    answer = httpx2.get(f"{server.url}/v1/chat/completions")
    assert (answer.status_code, answer.json()["error"]["message"]) == (405, "Method Not Allowed")


@pytest.fixture(scope="module")
def guarded(model):
    with served(Scripted(model, tokens=4096), keys=(b"another of the keys", KEY.encode())) as running:
        running.engine.script = "some"
        yield running


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny", "/metrics", "/openapi.json", "/nowhere", "//health"])
def test_every_route_but_health_needs_a_key(guarded, path):
    for told in ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}):
        answer = httpx2.get(guarded.url + path, headers=told)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert httpx2.get(guarded.url + path, headers={"Authorization": f"Bearer {KEY}"}).status_code in (200, 404)


def test_with_a_key_the_client_is_served(guarded):
    made = guarded.client(api_key=KEY).chat.completions.create(model="tiny", messages=HI)
    assert made.choices[0].message.content == "some"


def test_health_and_the_page_need_no_key(guarded):
    assert httpx2.get(f"{guarded.url}/health").json() == {"status": "ok"}
    assert httpx2.get(f"{guarded.url}/ready").json() == {"status": "ready"}
    assert httpx2.get(guarded.url).status_code == 200
    assert httpx2.get(f"{guarded.url}/../app.py").status_code == 401


@pytest.mark.parametrize(
    "path", ["/%00", "/a%00.js", "/" + "a" * 300, "/words", "/words/", "/index.html/x", "/%2e%2e/app.py"]
)
def test_what_is_no_file_of_the_page_is_not_there(server, guarded, path):
    """Whatever a file system would say of it."""
    assert [httpx2.get(each.url + path).status_code for each in (server, guarded)] == [404, 401]


def test_every_file_of_the_page_is_there(guarded):
    told = {path.relative_to(page.WEB).as_posix() for path in page.WEB.rglob("*.*")}
    assert {"index.html", "main.js", "words/zh.js", "vendor/marked.js"} <= told
    assert {httpx2.get(f"{guarded.url}/{path}").status_code for path in told} == {200}


def test_the_page_runs_no_script_but_its_own(server):
    answer = httpx2.get(server.url)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert answer.headers["content-type"].startswith("text/html")
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_other_pages_are_let_in_by_name_alone(server, model):
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    url = "/v1/chat/completions"
    assert "access-control-allow-origin" not in httpx2.options(server.url + url, headers=asked).headers
    with served(Scripted(model, tokens=1024), origins=["https://a.example"], keys=(KEY.encode(),)) as running:
        answer = httpx2.options(running.url + url, headers=asked)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://a.example")
        other = httpx2.options(running.url + url, headers={**asked, "Origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


def test_keys_are_read_one_a_line(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text(f"# of Ann\n{KEY}\n\n  another of the keys \n", encoding="utf-8")
    assert keys.read(path) == (KEY.encode(), b"another of the keys")
    path.write_text(f"{KEY}\nanother of the keys", encoding="utf-8-sig")  # with a mark, as some editors write
    assert keys.read(path) == (KEY.encode(), b"another of the keys")
    path.write_text("short\n", encoding="utf-8")
    with pytest.raises(Refusal, match="a key must have 16 characters or more, but found fewer in key 1"):
        keys.read(path)
    path.write_text("# none\n", encoding="utf-8")
    with pytest.raises(Refusal, match="a file of keys must have one at least, but found none"):
        keys.read(path)
    with pytest.raises(Refusal, match="a file of keys must be readable text"):
        keys.read(tmp_path / "nowhere")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "localhost.example.org"])
def test_an_open_door_must_be_meant(host):
    with pytest.raises(Refusal, match=f"a server that others reach must have keys, but found --host {host} and none"):
        keys.require_guarded(host, (), insecure=False)
    keys.require_guarded(host, (), insecure=True)
    keys.require_guarded(host, (KEY.encode(),), insecure=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_may_ask_without_keys(host):
    keys.require_guarded(host, (), insecure=False)


@pytest.fixture(scope="module")
def trusting(model):
    """A server without keys, which trusts everyone on its machine."""
    with served(Scripted(model, tokens=4096), here=True) as running:
        yield running


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io",
                                  "10.0.0.7", "0.0.0.0", "[fe80::1]", "[::1", "", "é"])  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/v1/chat/completions"])
def test_a_page_whose_name_leads_here_is_told_nothing(trusting, host, path):
    method = "POST" if "chat" in path else "GET"
    told = {"model": "tiny", "messages": HI} if "chat" in path else None
    answer = httpx2.request(method, trusting.url + path, json=told, headers={"Host": host.encode("latin-1")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "unknown_host")
    message = f"must be asked as localhost, 127.0.0.1 or [::1], but was as {host!a}: start it with --api-key-file"
    assert message in answer.json()["error"]["message"] and not trusting.engine.heard


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:65535", "127.0.0.2", "[::1]:80"])
def test_this_machine_asks_by_its_own_names(trusting, host):
    assert httpx2.get(f"{trusting.url}/v1/models", headers={"Host": host}).status_code == 200


def test_the_log_tells_all_but_what_was_said(model, capsys):
    secret = {"messages": [{"role": "user", "content": "a secret"}], "user": "ann", "max_tokens": 3, "temperature": 0}
    with served(Scripted(model, tokens=4096), keys=(KEY.encode(),)) as running:
        running.engine.script = "words"
        told = {"model": "tiny", **secret}
        answer = httpx2.post(
            f"{running.url}/v1/chat/completions", json=told, headers={"Authorization": f"Bearer {KEY}"}
        )
        httpx2.post(f"{running.url}/v1/chat/completions", json=told)
    shown = capsys.readouterr().out
    assert "secret" not in shown and KEY not in shown and "words" not in shown
    lines = [json.loads(line) for line in shown.splitlines()]
    right, wrong = [line for line in lines if line.get("path") == "/v1/chat/completions"]
    read = len(model.ids(secret["messages"]))
    assert (right["status"], right["model"], right["user"], right["prompt_tokens"]) == (200, "tiny", "ann", read)
    assert right["completion_tokens"] == len(model.tokenizer.encode("words"))
    assert right["id"] == answer.headers["x-request-id"] and answer.json()["id"] == f"chatcmpl-{right['id']}"
    assert 0 < right["first_token_seconds"] <= right["seconds"]
    assert (wrong["status"], wrong["code"]) == (401, "invalid_api_key")
    with served(Scripted(model, tokens=4096), show=True) as running:
        running.engine.script = "words"
        chat(running, **secret)
        list(running.client().chat.completions.create(model="tiny", stream=True, **secret))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in [line for line in lines if "request" in line]:
        assert line["request"]["messages"][0]["content"] == "a secret" and line["replies"] == ["words"]


def test_the_log_tells_of_vectors_as_of_replies(model, encoder, capsys):
    asked = {"model": "vectors", "input": ["a secret", "some words"], "user": "ann"}
    read = sum(len(encoding.ids) for encoding in encoder.tokenizer.encode_framed(asked["input"]))
    for show in (False, True):
        embedder = Embedder(encoder, "vectors", Limits())
        with served(Scripted(model, tokens=4096), embedder=embedder, show=show) as running:
            post(running, "embeddings", **asked).raise_for_status()
        shown = capsys.readouterr().out
        line = next(json.loads(line) for line in shown.splitlines() if "/v1/embeddings" in line)
        assert (line["status"], line["model"], line["user"], line["prompt_tokens"]) == (200, "vectors", "ann", read)
        assert line.get("request") == (asked if show else None) and ("secret" in shown) == show


QUOTED = "my PIN is 4711"


@pytest.mark.parametrize(("told", "param"), [
    ({"messages": [{"role": "assistant", "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "pay", "arguments": f'"{QUOTED}"'}}]}]}, "messages"),
    ({QUOTED: 1}, "body"),
    ({"logit_bias": {QUOTED: 1}}, "logit_bias"),
    ({"regex": f"({QUOTED}"}, "regex"),
    ({"logprobs": False, "top_logprobs": 2}, "top_logprobs"),
])  # fmt: skip
def test_the_log_quotes_no_request_in_an_error(model, capsys, told, param):
    """The code and a field of ours are told; the sentence only where prompts are."""
    asked = {"model": "tiny", "messages": HI, **told}
    for show in (False, True):
        with served(Scripted(model, tokens=4096), show=show) as running:
            answer = httpx2.post(f"{running.url}/v1/chat/completions", json=asked, timeout=60)
        shown = capsys.readouterr().out
        line = next(json.loads(line) for line in shown.splitlines() if "/v1/chat" in line)
        assert (line["status"], line["code"], line["param"]) == (400, "invalid_request_error", param)
        assert line.get("error") == (answer.json()["error"]["message"] if show else None)
        assert show or "4711" not in shown


def test_the_log_names_what_broke_without_its_words(model, capsys):
    with served(Scripted(model, tokens=4096)) as running:
        running.engine.finish, running.engine.error = "error", f"KeyError: '{QUOTED}'"
        answer = chat(running)
    shown = capsys.readouterr().out
    line = next(json.loads(line) for line in shown.splitlines() if "/v1/chat" in line)
    assert answer.status_code == 500 and QUOTED in answer.json()["error"]["message"] and QUOTED not in shown
    assert (line["status"], line["code"], line["failed"]) == (500, "engine_error", "KeyError")


def numbers(server):
    page = httpx2.get(f"{server.url}/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(page.text):
        for sample in family.samples:
            found[sample.name + "".join(f" {v}" for k, v in sorted(sample.labels.items()) if k != "le")] = sample.value
    return found


def test_prometheus_is_told_what_was_done(model):
    """Counted by hand: three requests of which one is refused, and a prompt that was read before."""
    with served(viva.Engine(model, tokens=1024)) as running:
        for _ in range(2):
            chat(running, max_tokens=4, ignore_eos=True)
        chat(running, n=0)
        running.settle()
        told, read = numbers(running), len(model.ids(HI))
    assert told["viva_requests_total /v1/chat/completions 200"] == 2
    assert told["viva_refusals_total invalid_request_error 400"] == 1
    assert (told["viva_prompt_tokens_total"], told["viva_output_tokens_total"]) == (2 * read, 8)
    assert told["viva_time_to_first_token_seconds_count"] == 2 and told["viva_request_seconds_count"] == 2
    assert told["viva_time_per_output_token_seconds_count"] == 2 * 3
    shared = (read - 1) // 16 * 16  # whole blocks, but for the last token, from which it goes on
    assert (told["viva_cache_hit_tokens_total"], told["viva_cache_missed_tokens_total"]) == (shared, 2 * read - shared)
    assert (told["viva_queue_length"], told["viva_batch_size"], told["viva_cache_blocks_used"]) == (0, 0, 0)
    assert told["viva_cache_blocks"] == 1024 / 16


def test_prometheus_is_told_what_waits(model, monkeypatch):
    """The engine stands still: one is being written, as many as there are rows, and the others wait."""
    engine = viva.Engine(model, tokens=1024, rows=1)
    with served(engine, Limits(queue=8)) as running:
        import threading

        stand, go = threading.Event(), threading.Event()
        step = Core.step

        def slow(core):
            made = step(core)
            stand.set()
            go.wait(20)
            return made

        monkeypatch.setattr(Core, "step", slow)
        asking = [threading.Thread(target=chat, args=(running,), kwargs={"ignore_eos": True}) for _ in range(3)]
        for thread in asking:
            thread.start()
        stand.wait(10)
        while running.service.places.taken < 3:
            pass
        told = numbers(running)
        go.set()
        for thread in asking:
            thread.join()
    assert told["viva_batch_size"] == 1 and told["viva_queue_length"] <= 2
    assert told["viva_cache_blocks_used"] == 7  # 97 tokens of the prompt and the first of the reply
