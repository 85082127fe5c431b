"""The page in a browser: each thing that it does, over the server that brings it."""

import json
import re

import httpx2
import pytest

from viva.serve.limits import Limits

from .live import Scripted, served

playwright = pytest.importorskip("playwright.sync_api", reason="the page is tried with playwright, which is not here")
expect = playwright.expect
KEY = "a key of some length"
SLOW = 0.02  # seconds between tokens, where something happens between them


def say(page, text):
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def answered(page, text, nth=0):
    """Wait until an answer is whole."""
    expect(page.locator(".assistant .body").nth(nth)).to_have_text(text)
    expect(page.locator("#stop")).to_be_hidden()


def asked(page):
    """The requests for an answer, from now on."""
    bodies = []
    is_chat = lambda request: request.url.endswith("/v1/chat/completions")  # noqa: E731
    page.on("request", lambda request: bodies.append(request.post_data_json) if is_chat(request) else None)
    return bodies


def settings(page):
    page.get_by_role("button", name="Settings").click()


def test_a_reply_is_written_as_it_comes(visit, host):
    page = visit()
    host.engine.script, host.engine.pause = "some words to learn, some words to merge", SLOW
    say(page, "hi")
    expect(page.locator(".user .body")).to_have_text("hi")
    expect(page.locator(".assistant .body")).to_have_text(re.compile("^some"))
    assert page.locator(".assistant .body").inner_text() != host.engine.script  # the rest is still to come
    answered(page, host.engine.script)
    expect(page.get_by_role("status")).to_have_text(f"The assistant said: {host.engine.script}")


def test_what_is_sent_is_what_openai_takes(visit, host):
    page, host.engine.script = visit(), "fine"
    bodies = asked(page)
    settings(page)
    page.get_by_label("System prompt").fill("be brief")
    for label, value in {"Temperature": "0.5", "Top p": "0.9", "Max tokens": "40", "Seed": "7"}.items():
        page.get_by_label(label).fill(value)
    say(page, "hi")
    answered(page, "fine")
    say(page, "and you?")
    answered(page, "fine", 1)
    told = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 40, "seed": 7, "logprobs": True, "top_logprobs": 5}
    told |= {"model": "tiny", "stream": True, "stream_options": {"include_usage": True}}
    system, hi = {"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}
    fine, you = {"role": "assistant", "content": "fine"}, {"role": "user", "content": "and you?"}
    assert bodies == [told | {"messages": [system, hi]}, told | {"messages": [system, hi, fine, you]}]
    page.get_by_label("Ask for token probabilities").uncheck()
    for label in ("Temperature", "Top p", "Max tokens", "Seed"):
        page.get_by_label(label).fill("")
    say(page, "bye")
    answered(page, "fine", 2)
    assert bodies[-1].keys() == {"model", "messages", "stream", "stream_options"}
    page.reload()
    settings(page)
    expect(page.get_by_label("Ask for token probabilities")).not_to_be_checked()


def test_a_real_model_answers_as_it_does_elsewhere(visit, server, model):
    page = visit(server.url)
    settings(page)
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Max tokens").fill("9")
    say(page, "hi")
    expect(page.locator(".note")).to_contain_text("Cut off: Max tokens")
    kept = page.evaluate("Object.entries(localStorage).find(([key]) => key.startsWith('viva.talk.'))[1]")
    said = model.chat([{"role": "user", "content": "hi"}], temperature=0, max_new_tokens=9)
    assert json.loads(kept)["messages"][1]["content"] == said
    expect(page.locator(".speed")).to_contain_text("9 tokens")


def test_a_setting_out_of_bounds_is_not_sent(visit):
    page = visit()
    bodies = asked(page)
    settings(page)
    page.get_by_label("Temperature").fill("3")
    page.get_by_role("button", name="Close").last.click()
    say(page, "hi")
    expect(page.get_by_label("Temperature")).to_be_focused()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("hi")
    assert bodies == []
    page.get_by_label("Temperature").fill("1")
    page.get_by_role("textbox", name="Message").press("Enter")
    expect(page.get_by_role("button", name="Retry")).to_be_visible()
    page.get_by_label("Max tokens").fill("-1")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_label("Max tokens")).to_be_focused()
    assert len(bodies) == 1


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_stop(visit, host, how):
    page = visit()
    host.engine.script, host.engine.pause = "some words " * 40, SLOW
    before = len(host.engine.dropped)
    say(page, "hi")
    expect(page.locator(".assistant .body")).to_contain_text("some words")
    page.keyboard.press("Escape") if how == "Escape" else page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_have_text("Stopped.")
    expect(page.locator("#stop")).to_be_hidden()
    host.settle()
    assert len(host.engine.dropped) == before + 1  # the server writes no further
    kept = page.locator(".assistant .body").inner_text()
    assert 0 < len(kept) < len(host.engine.script)
    page.reload()
    page.locator(".talk").click()
    expect(page.locator(".assistant .body")).to_have_text(kept)


def test_retry_takes_the_place_of_the_answer_and_can_be_undone(visit, host):
    page, host.engine.script = visit(), "first"
    bodies = asked(page)
    say(page, "hi")
    answered(page, "first")
    host.engine.script = "second"
    page.get_by_role("button", name="Retry").click()
    answered(page, "second")
    expect(page.locator(".message")).to_have_count(2)
    assert bodies[0] == bodies[1]
    expect(page.get_by_role("alert")).to_contain_text("Messages replaced: 1.")
    page.get_by_role("button", name="Undo").click()
    answered(page, "first")


def test_edit_goes_on_from_there(visit, host):
    page, host.engine.script = visit(), "fine"
    bodies = asked(page)
    for nth, text in enumerate(("one", "two")):
        say(page, text)
        answered(page, "fine", nth)
    page.locator(".user").first.get_by_role("button", name="Edit").click()
    expect(page.get_by_text("What follows this message will be replaced.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".user .body").first).to_have_text("one")
    page.locator(".user").first.get_by_role("button", name="Edit").click()
    page.locator(".editor textarea").fill("uno")
    page.keyboard.press("Enter")
    answered(page, "fine")
    expect(page.locator(".message")).to_have_count(2)
    assert bodies[-1]["messages"] == [{"role": "user", "content": "uno"}]
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".user .body")).to_have_text(["one", "two"])


def test_conversations_are_kept_and_deleted(visit, host):
    page, host.engine.script = visit(), "fine"
    for text in ("of ships", "of shoes"):
        say(page, text)
        answered(page, "fine")
        page.keyboard.press("Control+k")
        expect(page.locator(".message")).to_have_count(0)
        expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.reload()
    expect(page.locator(".talk")).to_have_text(["of shoes", "of ships"])
    page.get_by_role("button", name="of ships").click()
    expect(page.locator(".body")).to_have_text(["of ships", "fine"])
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#talks li").nth(1).get_by_role("button", name="Delete").click()
    expect(page.locator(".talk")).to_have_count(2)
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#talks li").nth(1).get_by_role("button", name="Delete").click()
    expect(page.locator(".talk")).to_have_text(["of shoes"])
    expect(page.locator(".message")).to_have_count(0)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete all").click()
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('viva.talk.'))") == []


def test_what_is_exported_can_be_learned_from(visit, host, tmp_path):
    page, host.engine.script = visit(), "fine\n"
    settings(page)
    page.get_by_label("System prompt").fill("be brief")
    for text in ("of ships", "of 鞋"):
        say(page, text)
        answered(page, "fine")
        page.keyboard.press("Control+k")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export all").click()
    download.value.save_as(tmp_path / "talks.jsonl")
    lines = (tmp_path / "talks.jsonl").read_text(encoding="utf-8").splitlines()
    system, fine = {"role": "system", "content": "be brief"}, {"role": "assistant", "content": "fine\n"}
    assert [json.loads(line)["messages"] for line in lines] == [
        [system, {"role": "user", "content": text}, fine] for text in ("of 鞋", "of ships")
    ]
    with page.expect_download() as download:
        page.locator("#talks li").nth(1).get_by_role("button", name="Export").click()
    assert download.value.path().read_text(encoding="utf-8").splitlines() == lines[1:]


def test_a_conversation_that_is_left_goes_on(visit, host):
    page = visit()
    host.engine.script, host.engine.pause = "some words to learn", SLOW
    say(page, "hi")
    expect(page.locator(".assistant .body")).to_have_text(re.compile("^some"))
    page.keyboard.press("Control+k")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.get_by_role("button", name="hi").click()
    answered(page, "some words to learn")


def test_a_conversation_deleted_while_it_is_answered_stays_away(visit, host):
    page = visit()
    host.engine.script, host.engine.pause = "some words " * 40, SLOW
    say(page, "hi")
    expect(page.locator(".assistant .body")).to_contain_text("some words")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#talks").get_by_role("button", name="Delete").click()
    host.settle()
    page.reload()
    expect(page.locator("#model option")).to_have_text("tiny")
    expect(page.locator(".talk")).to_have_count(0)


def test_an_edit_while_it_is_answered_stops_that(visit, host):
    page = visit()
    host.engine.script, host.engine.pause = "some words " * 40, SLOW
    say(page, "hi")
    expect(page.locator(".assistant .body")).to_contain_text("some words")
    page.locator(".user").get_by_role("button", name="Edit").click()
    page.locator(".editor textarea").fill("hello")
    host.engine.script = "words to learn, words to merge"
    page.locator(".editor").get_by_role("button", name="Send").click()
    expect(page.locator(".assistant .body")).to_have_text(re.compile("^words"))
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    answered(page, host.engine.script)
    host.settle()


def test_two_tabs_see_each_other(visit, host):
    page, host.engine.script = visit(), "fine"
    other = page.context.new_page()
    other.goto(host.url)
    say(page, "hi")
    answered(page, "fine")
    expect(other.locator(".talk")).to_have_text(["hi"])
    other.locator(".talk").click()
    say(other, "again")
    answered(other, "fine", 1)
    expect(page.locator(".user .body")).to_have_text(["hi", "again"])


def test_markdown_code_and_copy(visit, host):
    page = visit()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    host.engine.script = "# Head\n\n```python\nprint(1)\n```\n"
    say(page, "hi")
    expect(page.locator(".assistant h1")).to_have_text("Head")
    expect(page.locator(".codebar span")).to_have_text("python")
    page.locator(".codebar").get_by_role("button", name="Copy").click()
    expect(page.locator(".codebar").get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "print(1)\n"
    page.locator(".assistant > .foot").get_by_role("button", name="Copy").click()
    expect(page.locator(".assistant > .foot").get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == host.engine.script


def test_no_script_of_an_answer_runs(visit, host):
    page = visit()
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    loaded = []
    page.on("request", lambda request: loaded.append(request.url))
    host.engine.script = (
        "<script>alert(1)</script> <img src=/x onerror=alert(2)> [a](javascript:alert(3)) ![b](/x.png) "
        "<svg onload=alert(4)> <a href='javascript:alert(5)'>c</a>"
    )
    page.evaluate("document.addEventListener('securitypolicyviolation', () => window.violated = true)")
    say(page, host.engine.script)
    answered(page, re.compile("alert"))
    page.get_by_text("a (javascript:alert(3))").click()
    for body in (".user .body", ".assistant .body"):
        expect(page.locator(body).locator("script, img, svg, iframe, a")).to_have_count(0)
    page.get_by_role("button", name="Probabilities").click()
    expect(page.locator(".tokens").locator("script, img, svg, a")).to_have_count(0)
    expect(page.locator(".talk")).to_have_text(host.engine.script)
    assert not page.evaluate("window.violated")
    assert [url for url in loaded if not url.endswith("/v1/chat/completions")] == []


def test_probabilities_are_told_of_each_token(visit, host):
    page = visit()
    host.engine.script = "some words"
    say(page, "hi")
    answered(page, "some words")
    page.get_by_role("button", name="Probabilities").click()
    tokens = page.locator(".token")
    assert tokens.all_inner_texts() == [
        host.engine.model.tokenizer.decode([token]) for token in host.engine.model.tokenizer.encode("some words")
    ]
    tokens.first.hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_contain_text("60.7 %")  # e**-0.5, which the script gives to each
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    tokens.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tokens.nth(1)).to_be_focused()
    expect(tip).to_contain_text(tokens.nth(1).inner_text().strip())
    page.get_by_role("button", name="Text").click()
    answered(page, "some words")


def test_tokens_that_share_a_character_stand_together(modules):
    characters = """async (tokens) => {
        const { characters } = await import("/tokens.js");
        return characters(tokens).map(({ text, tokens }) => [text, tokens.length]);
    }"""
    parts = [b"a", "中".encode()[:2], "中".encode()[2:] + b"b", "😀".encode()[:1], "😀".encode()[1:], b"\xe4"]
    told = [{"token": part.decode(errors="replace"), "bytes": list(part), "logprob": -1} for part in parts]
    expected = [["a", 1], ["中b", 2], ["😀", 2], ["\ufffd", 1]]
    assert modules.evaluate(characters, told) == expected


def test_tokens_a_second_are_measured(visit, host):
    page = visit()
    host.engine.script, host.engine.pause = "some words to learn " * 5, 0.05
    say(page, "hi")
    answered(page, host.engine.script.strip())
    shown = page.locator(".speed").inner_text()
    [rate] = re.findall(r"([\d.]+) tokens/s", shown)
    [count] = re.findall(r"(\d+) tokens\b(?!/)", shown)
    assert int(count) == len(host.engine.model.tokenizer.encode(host.engine.script))
    assert 5 < float(rate) < 21.5, shown  # one in 50 ms, on a machine that may have other things to do
    assert "first after 0." in shown


def test_lines_and_composed_characters(visit, host):
    page, host.engine.script = visit(), "fine"
    bodies = asked(page)
    box = page.get_by_role("textbox", name="Message")
    box.press_sequentially("one")
    page.keyboard.press("Shift+Enter")
    box.press_sequentially("two")
    page.evaluate("""document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true }))""")
    expect(box).to_have_value("one\ntwo")
    page.keyboard.press("Enter")
    answered(page, "fine")
    assert [body["messages"][0]["content"] for body in bodies] == ["one\ntwo"]
    page.keyboard.press("Enter")
    assert len(bodies) == 1  # of nothing


def test_chinese(visit):
    page = visit(locale="zh-CN")
    expect(page.get_by_role("button", name="新对话")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    page.get_by_text("English", exact=True).click()
    expect(page.get_by_role("button", name="New chat")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="New chat")).to_be_visible()
    expect(visit(locale="en-GB").get_by_role("button", name="New chat")).to_be_visible()


def test_both_languages_say_everything(modules):
    words = """async () => {
        const [en, zh] = await Promise.all(["en", "zh"].map((name) => import(`/words/${name}.js`)));
        return [en.default, zh.default];
    }"""
    english, chinese = modules.evaluate(words)
    assert english.keys() == chinese.keys()
    fields = lambda text: sorted(re.findall(r"\{\w+\}", text))  # noqa: E731
    assert {key: fields(text) for key, text in english.items()} == {k: fields(text) for k, text in chinese.items()}
    keys = modules.evaluate("""[...document.querySelectorAll("*")].flatMap(
        ({ dataset: { word, name, hint } }) => [word, name, hint].filter(Boolean))""")
    assert set(keys) <= english.keys()


def test_light_and_dark(visit):
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    bright, dim = light.evaluate(ground), dark.evaluate(ground)
    assert bright == "rgb(251, 250, 248)"
    assert dim == "rgb(23, 25, 28)"
    light.get_by_role("button", name="Light or dark").click()
    assert light.evaluate(ground) == dim
    light.reload()
    assert light.evaluate(ground) == dim


def test_small_screens(visit, host):
    page, host.engine.script = visit(viewport={"width": 360, "height": 640}), "a `" + "x" * 200 + "` b"
    say(page, "hi")
    answered(page, re.compile("^a x+ b$"))
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.locator("#side")).to_be_hidden()
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("button", name="New chat")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#side")).to_be_hidden()
    settings(page)
    expect(page.get_by_label("Temperature")).to_be_in_viewport()


def test_everything_has_a_name(visit, host):
    """What a screen reader would call "button": there must be none."""
    page, host.engine.script = visit(), "```\ncode\n```"
    say(page, "hi")
    answered(page, re.compile("code"))
    settings(page)
    tree = page.locator("body").aria_snapshot()
    controls = re.findall(r"^\s*- (button|textbox|combobox|checkbox|spinbutton)(.*)$", tree, re.MULTILINE)
    assert len(controls) > 20
    assert [control for control in controls if not control[1].startswith(' "')] == []


@pytest.fixture(scope="module")
def locked(model):
    with served(Scripted(model, tokens=1024), keys=(KEY.encode(),)) as running:
        running.engine.script = "fine"
        yield running


def test_a_key_is_asked_for_and_remembered(visit, locked):
    page = visit(locked.url)
    expect(page.get_by_role("alert")).to_contain_text("The server needs an API key, or does not know this one.")
    page.get_by_label("API key").fill("not that one, but as long")
    page.keyboard.press("Tab")
    expect(page.get_by_role("alert")).to_contain_text("does not know this one")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Tab")
    expect(page.get_by_role("alert")).to_have_count(0)
    say(page, "hi")
    answered(page, "fine")
    page.reload()
    expect(page.locator("#model option")).to_have_text("tiny")


def test_a_busy_server_tells_when_to_come_again(visit, model):
    with served(Scripted(model, tokens=1024, rows=1), Limits(queue=0)) as busy:
        page = visit(busy.url)
        busy.engine.script, busy.engine.pause = "some words " * 50, SLOW
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        with httpx2.stream("POST", f"{busy.url}/v1/chat/completions", json=body):
            say(page, "hi")
            expect(page.locator(".note.trouble")).to_contain_text("The server is busy: ")
            expect(page.get_by_role("button", name=re.compile(r"Retry in \d+ s"))).to_be_disabled()
        busy.settle()
        busy.engine.script = "fine"
        expect(page.get_by_role("button", name="Retry", exact=True)).to_be_enabled()
        page.get_by_role("button", name="Retry", exact=True).click()
        answered(page, "fine")
        expect(page.locator(".note.trouble")).to_be_hidden()


def test_a_refusal_says_what_to_do(visit, host):
    page = visit()
    bodies = asked(page)
    settings(page)
    page.get_by_label("Temperature").fill("0.0001")
    say(page, "hi")
    expect(page.locator(".note.trouble")).to_have_text(
        "The server refused this: temperature: must be 0, or 0.001 at least."
    )
    page.get_by_label("Temperature").fill("")
    say(page, "w " * 3000)
    expect(page.locator(".note.trouble").nth(1)).to_contain_text("The conversation is longer than the model can read: ")
    assert [message["role"] for message in bodies[1]["messages"]] == ["user", "user"]  # no answer is no message


def test_a_failure_in_the_middle_keeps_what_came(visit, host):
    page = visit()
    host.engine.script, host.engine.finish, host.engine.error = "some words", "error", "NaN"
    say(page, "hi")
    expect(page.locator(".note.trouble")).to_contain_text("The server failed: the model failed on this request: NaN.")
    expect(page.locator(".assistant .body")).to_have_text("some words")


def test_a_lost_connection_is_said(visit, host):
    page = visit()
    chat = "**/v1/chat/completions"
    page.route(chat, lambda route: route.abort("connectionrefused"))
    say(page, "hi")
    expect(page.locator(".note.trouble")).to_contain_text("The server cannot be reached.")
    page.unroute(chat)
    event = {"choices": [{"index": 0, "delta": {"content": "some"}, "finish_reason": None}]}
    half = f"data: {json.dumps(event)}\n\ndata: {{"
    page.route(chat, lambda route: route.fulfill(body=half, content_type="text/event-stream"))
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".note.trouble")).to_contain_text("The connection was lost before the answer ended.")
    expect(page.locator(".assistant .body")).to_have_text("some")
    page.unroute(chat)
    bodies = asked(page)
    host.engine.script = "fine"
    page.get_by_role("button", name="Retry").click()
    answered(page, "fine")
    assert bodies[0]["messages"] == [{"role": "user", "content": "hi"}]


def test_a_proxy_that_speaks_no_protocol(visit):
    page = visit()
    page.route("**/v1/chat/completions", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    say(page, "hi")
    expect(page.locator(".note.trouble")).to_contain_text("The server failed: HTTP 502.")
    page.route("**/v1/*", lambda route: route.fulfill(body="<h1>Log in</h1>"))
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    page.unroute("**/v1/*")
    page.get_by_role("alert").get_by_role("button", name="Retry").click()
    expect(page.locator("#model option")).to_have_text("tiny")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_storage_that_is_full_or_damaged_is_said(visit, host):
    page, host.engine.script = visit(), "fine"
    page.evaluate("localStorage.setItem('viva.talk.bad', '{')")
    page.evaluate("localStorage.setItem('viva.settings', 'null')")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text(
        "Kept conversations that cannot be read, and are left as they are: 1."
    )
    page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') } }"
    )
    say(page, "hi")
    answered(page, "fine")
    expect(page.get_by_role("alert").last).to_contain_text("This browser keeps no more")


@pytest.mark.parametrize("bad", [None, {"role": "user"}, {"role": "user", "content": 3}, {"role": "x", "content": "a"}])
def test_a_conversation_of_damaged_messages_is_left_as_it_is(visit, bad):
    """The others are there, and the page goes on."""
    page = visit()
    good = {"id": "good", "changed": 1, "system": "", "messages": [{"role": "user", "content": "fine"}]}
    for talk in (good, {**good, "id": "bad", "messages": [good["messages"][0], bad]}):
        page.evaluate("talk => localStorage.setItem('viva.talk.' + talk.id, JSON.stringify(talk))", talk)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("cannot be read, and are left as they are: 1.")
    expect(page.locator("#model option")).to_have_text("tiny")
    expect(page.locator("#talks")).to_contain_text("fine")


def test_events_are_read_however_they_are_cut(modules):
    """By the standard's rules, whatever bytes a read brings (of a stream in UTF-8, cut anywhere)."""
    read = """async ([bytes, size]) => {
        const { events } = await import("/sse.js");
        const parts = [];
        for (let at = 0; at < bytes.length; at += size) parts.push(new Uint8Array(bytes.slice(at, at + size)));
        const body = new ReadableStream({ pull: (to) => (parts.length ? to.enqueue(parts.shift()) : to.close()) });
        const found = [];
        for await (const data of events(body)) found.push(data);
        return found;
    }"""
    text = ": a comment\n\ndata: 中文\n\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\ndata: [DONE]\n\ndata: no end"
    for size in (1, 2, 3, 7, 1000):
        assert modules.evaluate(read, [list(text.encode()), size]) == ["中文", "two\nlines", "[DONE]"]
