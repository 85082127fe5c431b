"""`viva chat` in a terminal: what a user types is what the model hears, and what is shown says how it went."""

import json
import re
import shutil
import subprocess
import sys
import time

import pytest

pytest.importorskip("pty", reason="a system without terminals like these")

from cli.parrot import __file__ as parrot
from cli.terminal import Terminal

UP, LEFT, PASTE, PASTED = "\x1b[A", "\x1b[D", "\x1b[200~", "\x1b[201~"


def said(conversations) -> list[str]:
    """The last message of each."""
    return [heard[-1][1] for heard in conversations]


def test_typing_editing_pasting_and_what_was_typed_before(tmp_path):
    with Terminal(tmp_path) as chat:
        assert "/retry" in chat.shown.decode() and "goes on in the next" in chat.shown.decode()
        shown = chat.ask("hié中")
        assert shown.startswith("you said hié中\n[3 tokens, ")
        assert re.search(
            r"\d tokens/s, the first after \d+\.\d\d s; 17 of the context's 1000 tokens are taken\]", shown
        )
        chat.ask(f"ac{LEFT}b")
        chat.lines("one \\", "two")
        chat.ask(f"{PASTE}def f():\n    return 1\n{PASTED}")
        chat.lines('"""', "first", "", "/undo", '"""')
        assert "a command must be one of /exit" in chat.ask("/rest")
        chat.ask(UP * 3)  # the pasted one
        heard = chat.end()
    assert said(heard) == [
        "hié中",
        "abc",
        "one \ntwo",
        "def f():\n    return 1",
        "first\n\n/undo",
        "def f():\n    return 1",
    ]
    with Terminal(tmp_path) as chat:  # another one, later
        chat.ask(UP * 5)
        assert said(chat.end()) == ["one \ntwo"]
    assert (tmp_path / "state" / "viva" / "chat.jsonl").stat().st_mode & 0o077 == 0


def test_ctrl_c_stops_a_reply_and_keeps_what_was_said(tmp_path):
    with Terminal(tmp_path) as chat:
        chat.type("go slowly\r")
        chat.wait("you said go slowly 0 1 2")
        chat.interrupt()
        assert "\n[stopped; " in chat.wait("\n> ")
        chat.type("hush\r")
        chat.wait("\n")
        chat.interrupt()
        assert "stopped before anything was said: the message is taken back" in chat.wait("\n> ")
        chat.type("not this")
        chat.wait("not this")
        chat.interrupt()
        assert "Ctrl-D, or /exit, ends the chat." in chat.wait("\n> ")
        assert "viva: 2 messages are added" in chat.ask(f"/save {tmp_path / 'talk.jsonl'}")
        chat.ask("b")
        first, _, second = chat.end()
    assert second[1][1].startswith("you said go slowly 0 1 2") and not second[1][1].endswith("99")
    assert second == [["user", "go slowly"], second[1], ["user", "b"]] and first == second[:1]
    [saved] = [json.loads(line) for line in (tmp_path / "talk.jsonl").read_text().splitlines()]
    assert saved["messages"][1]["content"] == second[1][1]


def test_a_dumb_terminal_and_one_without_a_place_for_what_is_typed(tmp_path):
    (tmp_path / "state").write_text("no folder")
    with Terminal(tmp_path, TERM="dumb", REACH="40") as chat:
        shown = chat.ask("\x1b[31mred")  # steers nothing: an escape of the user's comes back written out
        assert "what is typed is kept for this chat alone" in chat.shown.decode() and b"\x1b[" not in chat.shown
        assert "a conversation must fit the model's context of 40 tokens" in chat.ask("x" * 40), shown
        assert len(chat.end()) == 1


def test_what_a_reply_would_steer_a_terminal_with_is_written_out(tmp_path):
    with Terminal(tmp_path) as chat:
        chat.ask("a\x16\x1b]0;title\x16\x07b")  # Ctrl-V takes the next key as it is
        assert "you said a\\x1b]0;title\\x07b" in chat.shown.decode()
        assert said(chat.end()) == ["a\x1b]0;title\x07b"]


@pytest.mark.skipif(not shutil.which("tmux"), reason="no tmux here")
def test_over_tmux(tmp_path):
    """Typed, pasted and shown by tmux."""

    def tmux(*words: str) -> str:
        socket = str(tmp_path / "tmux")
        return subprocess.run(["tmux", "-S", socket, "-f", "/dev/null", *words], capture_output=True, text=True).stdout

    def wait(text: str, times: int = 1) -> None:
        end = time.monotonic() + 30
        while tmux("capture-pane", "-p", "-t", "chat").count(text) < times:
            assert time.monotonic() < end, tmux("capture-pane", "-p", "-t", "chat")
            time.sleep(0.1)

    command = f"stty noflsh; env XDG_STATE_HOME={tmp_path} {sys.executable} {parrot} {tmp_path / 'heard.json'}"
    tmux("new-session", "-d", "-s", "chat", "-x", "160", "-y", "40", command)
    try:
        wait("\n>")
        tmux("send-keys", "-t", "chat", "hello", "Enter")
        wait("you said hello\n[")
        wait("taken]\n>")  # pastes are told from typing where a line is read
        tmux("set-buffer", "one\ntwo")
        tmux("paste-buffer", "-p", "-t", "chat")
        tmux("send-keys", "-t", "chat", "Enter")
        wait("you said one\ntwo\n[")
        tmux("send-keys", "-t", "chat", "go slowly", "Enter")
        wait("slowly 0 1")
        tmux("send-keys", "-t", "chat", "C-c")
        wait("taken]\n>", times=3)
        tmux("send-keys", "-t", "chat", "Up", "Enter")
        wait("slowly 0 1", times=2)
        tmux("send-keys", "-t", "chat", "C-c")
        wait("taken]\n>", times=4)
        tmux("send-keys", "-t", "chat", "C-d")
        end = time.monotonic() + 30
        while tmux("list-sessions") and time.monotonic() < end:  # until the chat has ended, not just begun to write
            time.sleep(0.1)
        assert said(json.loads((tmp_path / "heard.json").read_text())) == [
            "hello",
            "one\ntwo",
            "go slowly",
            "go slowly",
        ]
    finally:
        tmux("kill-server")
