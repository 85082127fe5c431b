"""`viva chat` where lines are piped in: what is said, and what each command does to the conversation."""

import io
import json
import sys

import pytest

import viva as public
from cli.parrot import Parrot
from viva import api
from viva.cli.saved import Saved
from viva.text.rows.corpus import files
from viva.text.rows.format import messages

COLD = ("--temperature", "0", "--max-new-tokens", "10")


@pytest.fixture
def talk(viva, monkeypatch):
    """Pipe lines into a chat."""

    def run(model, text, *flags):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        return viva("chat", model, *flags)

    return run


@pytest.fixture
def parrot(monkeypatch):
    model = Parrot()
    monkeypatch.setattr(api, "load", lambda name, dtype, adapter: model)
    return model


def conversations(parrot) -> list[list[tuple[str, str]]]:
    return [heard for heard, _ in parrot.heard]


def test_chat_replies_as_the_api_does(talk, tiny):
    reply = public.load(tiny).chat([{"role": "user", "content": "hi"}], temperature=0, max_new_tokens=10)
    assert talk(tiny, "hi\n", *COLD) == (0, f"{reply}\n", "")


def test_chat_remembers_what_was_said(talk, parrot):
    assert talk("m", "hi\n\nand\n") == (0, "you said hi\nyou said and\n", "")
    assert conversations(parrot)[1] == [("user", "hi"), ("assistant", "you said hi"), ("user", "and")]


def test_chat_begins_anew_by_command(talk, parrot):
    lines = "a\n/reset\nb\n/system be brief\nc\nd\n/reset\ne\n/system\nf\n/exit\ng\n"
    assert talk("m", lines, "--system", "be kind")[0] == 0
    kind, brief, heard = ("system", "be kind"), ("system", "be brief"), conversations(parrot)
    first = [[*system, ("user", word)] for system, word in [([kind], "a"), ([kind], "b"), ([brief], "c")]]
    assert heard[:3] == first
    assert heard[3] == [*first[2], ("assistant", "you said c"), ("user", "d")]
    assert heard[4:] == [[brief, ("user", "e")], [("user", "f")]]


def test_chat_takes_back_and_tries_again(talk, parrot):
    assert talk("m", "a\nb\n/undo\nc\n/retry\n/retry\nd\n/retry\n", "--seed", 3)[0] == 0
    a, heard = [("user", "a"), ("assistant", "you said a")], conversations(parrot)
    c = [*a, ("user", "c")]
    assert heard[2:5] == [c] * 3
    assert heard[5:] == [[*c, ("assistant", "you said c"), ("user", "d")]] * 2
    seeds = [sampling["seed"] for _, sampling in parrot.heard]
    assert seeds[:3] == [3] * 3 and seeds[5] == 3  # first tries
    assert len({*seeds[2:5]}) == 3 and seeds[6] == seeds[3]


def test_a_message_may_have_many_lines(talk, parrot):
    lines = [
        "one \\", "  two\\", "three", '"""', "/undo", "", "  deep\\", '"""', '"""all in one"""',
        "/etc/hosts is a file", 'never"""ends', '"""left', "open",
    ]  # fmt: skip
    assert talk("m", "\n".join(lines))[0] == 0
    said = [heard[-1][1] for heard in conversations(parrot)]
    assert said == [
        "one \n  two\nthree", "/undo\n\n  deep\\", "all in one", "/etc/hosts is a file", 'never"""ends', "left\nopen",
    ]  # fmt: skip


def test_a_conversation_is_saved_as_tuning_reads_it(talk, viva, parrot, tiny, tmp_path):
    """Behind what is in the file, even where that was cut off in its last line."""
    path = tmp_path / "my talk.jsonl"
    there = [("user", "1 + 2?"), ("assistant", "3")]
    path.write_text(json.dumps({"messages": [{"role": role, "content": text} for role, text in there]}))
    code, _, err = talk("m", f"/system be brief\nhé\n/save {path}\nb\n/save {path}\n")
    said = f"viva: 5 messages take the place of this conversation's last ones in {path}\n"
    assert (code, err) == (0, f"viva: 3 messages are added to {path}\n{said}")
    rows = [*files.Config(path=str(path)).rows()]
    first = [("system", "be brief"), ("user", "hé"), ("assistant", "you said hé")]
    kept = [[(each["role"], each["content"]) for each in row.data["messages"]] for row in rows]
    assert kept == [there, [*first, ("user", "b"), ("assistant", "you said b")]]
    tokenizer = public.load_tokenizer(tiny)
    [example] = messages.Config().examples(rows[1:2], tokenizer)
    learned = [token for token, learns in zip(example.ids, example.mask, strict=True) if learns]
    assert tokenizer.decode(learned).startswith("you said hé")
    code, out, _ = viva("data", "check", path, "--tokenizer", tiny)
    assert code == 0 and "format messages" in out and "2 rows" in out


def test_a_conversation_is_saved_once_in_each_file(talk, parrot, tmp_path):
    """In the place it had, between others and with the file's rights; a new one behind all."""
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.touch(mode=0o600)
    link = tmp_path / "link.jsonl"
    link.symlink_to(one)
    lines = ["a", f"/save {one}", f"/save {two}", "/reset", "a", f"/save {one}", "b", f"/save {link}", "/undo"]
    code, _, err = talk("m", "\n".join([*lines, f"/save {one}\n"]))
    places = ["added", "added", "added", "place", "place"]
    assert code == 0 and [word in line for word, line in zip(places, err.splitlines(), strict=True)] == [True] * 5
    saved = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "you said a"}]}]
    assert [json.loads(line) for line in one.read_text().splitlines()] == saved * 2
    assert [json.loads(line) for line in two.read_text().splitlines()] == saved
    assert one.stat().st_mode & 0o777 == 0o600 and link.is_symlink()


def test_a_row_that_is_gone_is_written_anew(tmp_path):
    path, saved, other = tmp_path / "talk.jsonl", Saved(), '{"messages": []}\n'
    assert not saved.put(path, [{"role": "user", "content": "a"}])
    path.write_text(other)
    assert not saved.put(path, [{"role": "user", "content": "b"}])
    path.write_text(path.read_text() + other)
    assert saved.put(path, [{"role": "user", "content": "c"}])
    rows = [json.loads(line)["messages"] for line in path.read_text().splitlines()]
    assert rows == [[], [{"role": "user", "content": "c"}], []]


@pytest.mark.parametrize(("lines", "sentence"), [
    ("/rest\n", "a command must be one of /exit, /help, /reset, /retry, /save, /system, /undo, but found /rest. To fix "
                "it, use '/reset'"),
    ("/undo\n", "there must be a reply to be taken back, but found none. To fix it, say something first"),
    ("a\n/undo\n/retry\n", "there must be a reply to be tried again, but found none"),
    ("/save x.jsonl\n", "there must be a reply to be saved, but found none"),
    ("a\n/save\n", "/save must be told where to, but found no file. To fix it, write /save talk.jsonl"),
    ("a\n/save /nowhere/x.jsonl\n", "/nowhere/x.jsonl must be a place that can be written"),
    ("a\n/retry\n", "a reply must be drawn to become another one, but found temperature 0 and 1 beams"),
    (f"{'a' * 990}\n{'b' * 11}\n", "a conversation must fit the model's context of 1000 tokens, but found 2000 tokens. "
                                  "To fix it, take messages back by /undo, or begin anew by /reset"),
])  # fmt: skip
def test_what_cannot_be_is_refused(talk, parrot, lines, sentence):
    code, _, err = talk("m", lines, "--temperature", 0)
    assert code == 2 and sentence in err


def test_the_end_of_the_context_is_said(talk, tiny):
    """The reply that fills it is told of; what follows is refused."""
    code, _, err = talk(tiny, "hi\nand\n", "--temperature", 0, "--max-new-tokens", 500)
    assert code == 2
    filled, refused = err.splitlines()
    assert filled == "viva: the reply ended because the model's context of 96 tokens is full"
    assert refused.startswith("viva: a conversation must fit the model's context of 96 tokens, but found ")
