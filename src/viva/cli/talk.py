"""A conversation: what was said, and what commands do to it."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from viva.base.errors import Refusal, nearest
from viva.base.seed import derive
from viva.cli.saved import Saved
from viva.cli.sentences import visible
from viva.cli.typed import HOW, Said
from viva.infer.sampling import Sampling

if TYPE_CHECKING:
    from viva.api import LanguageModel

COMMANDS = {
    "/exit": "end, as Ctrl-D does",
    "/help": "show this",
    "/reset": "forget the conversation",
    "/retry": "have the last message answered again",
    "/save": "FILE: add the conversation, or what became of it, to a file of JSON lines, which tuning reads",
    "/system": "TEXT: begin anew under this instruction, or without one",
    "/undo": "take the last message and its reply back",
}


class Talk:
    """The messages so far, and what becomes of the next. `typed`: somebody sits at a terminal."""

    def __init__(self, model: "LanguageModel", sampling: Sampling, system: str | None, typed: bool):
        self.model, self.sampling, self.typed = model, sampling, typed
        self._do: dict[str, Callable[[str], None]] = {
            "/help": self._help,
            "/reset": lambda rest: self.reset(self.system),
            "/retry": self._retry,
            "/save": self._save,
            "/system": lambda rest: self.reset(rest or None),
            "/undo": self._undo,
        }
        self.reset(system)

    def reset(self, system: str | None) -> None:
        """Begin anew under the instruction `system`, if there is one."""
        self.system, self.tries, self.cut, self._saved = system, 0, False, Saved()
        self.messages = [{"role": "system", "content": system}] if system else []

    def take(self, said: Said) -> None:
        """Obey a command, or reply to a message; a mistake is told, and ends the program only where nobody types."""
        try:
            if said.command:
                self._obey(said)
            elif said.text:
                self.tries = 0
                self._reply(self.messages, said.text)
        except Refusal as refusal:
            if not self.typed:
                raise
            print(f"viva: {refusal}", file=sys.stderr)

    def _obey(self, said: Said) -> None:
        if said.command not in self._do:
            must, fix = f"a command must be one of {', '.join(COMMANDS)}", nearest(said.command, [*COMMANDS])
            raise Refusal(must, said.command, fix)
        self._do[said.command](said.text)

    def _help(self, rest: str) -> None:
        print(*(f"{command:8} {what}" for command, what in COMMANDS.items()), HOW, sep="\n")

    def _undo(self, rest: str) -> None:
        self._require_reply("to be taken back")
        self.messages = self.messages[:-2]

    def _retry(self, rest: str) -> None:
        self._require_reply("to be tried again")
        drawn = self.sampling.temperature and self.sampling.beams == 1
        if not (drawn or self.cut):
            found = f"temperature {self.sampling.temperature:g} and {self.sampling.beams} beams"
            raise Refusal("a reply must be drawn to become another one", found, "chat with --temperature 1")
        self.tries += 1
        self._reply(self.messages[:-2], self.messages[-2]["content"])

    def _save(self, name: str) -> None:
        self._require_reply("to be saved")
        if not name:
            raise Refusal("/save must be told where to", "no file", "write /save talk.jsonl")
        path = Path(name).expanduser()
        replaced = self._saved.put(path, self.messages)
        done = "take the place of this conversation's last ones in" if replaced else "are added to"
        print(f"viva: {len(self.messages)} messages {done} {path}", file=sys.stderr)

    def _require_reply(self, what: str) -> None:
        if not self.messages or self.messages[-1]["role"] != "assistant":
            raise Refusal(f"there must be a reply {what}", "none", "say something first")

    def _reply(self, before: list[dict], text: str) -> None:
        """Show the reply as it comes and remember it; Ctrl-C keeps what was written so far."""
        asked, written, tokens = [*before, {"role": "user", "content": text}], [], 0
        self._require_room(asked)
        began, first, self.cut = time.monotonic(), None, False
        try:
            for piece in self.model.pieces(asked, **self._drawing()):
                written.append(piece.text)  # before it is shown: Ctrl-C may come between, and what was seen is kept
                print(visible(piece.text) if self.typed else piece.text, end="", flush=True)
                first = first or time.monotonic() - began
                tokens += piece.token is not None
        except KeyboardInterrupt:
            if not self.typed:
                raise
            self.cut = True
        spent, reply = time.monotonic() - began, "".join(written)
        print()
        if self.cut and not reply:
            print("viva: stopped before anything was said: the message is taken back", file=sys.stderr)
            return
        self.messages = [*asked, {"role": "assistant", "content": reply}]
        if self.typed:
            self._tell(tokens, spent, first or spent)

    def _drawing(self) -> dict:
        """The sampling, whose seed has a stream of its own for each further try."""
        again = self.tries and self.sampling.seed is not None
        return {**dict(self.sampling), **({"seed": derive(self.sampling.seed, "retry", self.tries)} if again else {})}

    def _require_room(self, asked: list[dict]) -> None:
        length, most = len(self.model.ids(asked)), self.model.reach
        if length > most:
            fix = "take messages back by /undo, or begin anew by /reset"
            raise Refusal(f"a conversation must fit the model's context of {most} tokens", f"{length} tokens", fix)

    def _tell(self, tokens: int, spent: float, first: float) -> None:
        """How fast the reply came, and how much of the context the conversation takes."""
        from rich.console import Console
        from rich.text import Text

        speed = f"{tokens} tokens, {tokens / spent:.1f} tokens/s, the first after {first:.2f} s; " if tokens else ""
        taken, most = len(self.model.ids(self.messages)), self.model.reach
        room = f"{taken} tokens so far" if math.isinf(most) else f"{taken} of the context's {most} tokens are taken"
        line = f"[{'stopped; ' if self.cut else ''}{speed}{room}]"
        Console(highlight=False, soft_wrap=True).print(Text(line, style="dim"))
