"""A chat with a parrot in a terminal of its own: what a user types, and what is shown."""

import json
import os
import pty
import re
import select
import signal
import sys
import termios
import time
from pathlib import Path

PARROT = Path(__file__).with_name("parrot.py")
STEERING = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]|\r")


class Terminal:
    """As a context, a chat that runs until `end`; `state` is the folder for what was typed."""

    def __init__(self, folder: Path, *flags: str, **environment: str):
        self.heard, self._sent, self.seen = folder / "heard.json", b"", 0
        told = {"TERM": "xterm-256color", "XDG_STATE_HOME": str(folder / "state"), **environment}
        self.process, self.screen = pty.fork()
        if not self.process:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test that runs in the background ignores Ctrl-C
            _keep_what_is_shown()
            os.execve(sys.executable, [sys.executable, PARROT, self.heard, *flags], {**os.environ, **told})

    def __enter__(self) -> "Terminal":
        self.wait("> ")
        return self

    def __exit__(self, *_) -> None:
        os.close(self.screen)  # hangs up, if it has not ended
        if self.process:
            os.kill(self.process, 9)
            os.waitpid(self.process, 0)

    @property
    def shown(self) -> bytes:
        """All that was shown, without what steers the terminal."""
        return STEERING.sub(b"", self._sent)

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, once the chat has had time to wait: between a prompt and its wait for a key, CPython's readline hears
        of a signal only at the next key.
        """
        time.sleep(0.5)
        self.type("\x03")

    def wait(self, text: str, seconds: float = 30) -> str:
        """What is shown up to `text`, from where the last wait ended, without what steers the terminal."""
        end = time.monotonic() + seconds
        while (at := self.shown.find(text.encode(), self.seen)) < 0:
            if not self._read(end):
                raise AssertionError(f"{text!r} was not shown: {self.shown[self.seen :]!r}")
        found, self.seen = self.shown[self.seen : at], at + len(text.encode())
        return found.decode()

    def ask(self, text: str) -> str:
        """Type a line; what is shown up to the next prompt."""
        self.type(f"{text}\r")
        self.wait("\n")  # the echo of what was typed
        return self.wait("\n> ")

    def lines(self, *lines: str) -> None:
        """Type the lines of one message, each when it is asked for, up to the next prompt."""
        for number, line in enumerate(lines, start=1):
            self.type(f"{line}\r")
            self.wait("... " if number < len(lines) else "\n> ")

    def end(self) -> list[list[list[str]]]:
        """Ctrl-D; the conversations that the parrot heard."""
        self.type("\x04")
        while self._read(time.monotonic() + 60):
            pass
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        assert status == 0, self.shown
        return json.loads(self.heard.read_text(encoding="utf-8"))

    def _read(self, end: float) -> bool:
        """Take in what is shown next; False where nothing comes any more."""
        if not select.select([self.screen], [], [], max(0, end - time.monotonic()))[0]:
            return False
        try:
            new = os.read(self.screen, 65536)
        except OSError:  # the other end is closed
            return False
        self._sent += new
        return bool(new)


def _keep_what_is_shown() -> None:
    """Else Ctrl-C empties the terminal, after the signal: of what the program answers already, if it is quick."""
    settings = termios.tcgetattr(0)
    settings[3] |= termios.NOFLSH
    termios.tcsetattr(0, termios.TCSANOW, settings)
