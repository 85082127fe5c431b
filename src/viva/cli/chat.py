"""`viva chat`: a conversation in the terminal."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from viva.base.errors import Refusal, nearest
from viva.cli.generate import Flags
from viva.infer.sampling import Sampling

if TYPE_CHECKING:
    from viva.api import LanguageModel

COMMANDS = {"/exit": "end", "/reset": "forget the conversation", "/system": "begin anew under this instruction"}


def chat(
    model: str,
    *,
    system: str | None = None,
    adapter: str | None = None,
    dtype: str | None = None,
    sampling: Flags = Sampling(),  # noqa: B008
) -> None:
    """Talk to a model. A line is a message; /exit, /reset and /system TEXT do what they say.

    Example: viva chat runs/quickstart --temperature 0

    Example: echo "What is 2 + 3?" | viva chat runs/quickstart

    Parameters
    ----------
    model
        a checkpoint or run folder, any Hugging Face folder of a known family, or a hub id
    system
        an instruction that stands before the conversation
    adapter
        the folder of an adapter, of viva's or of PEFT's, or a run that trained one, for the model to reply with
    dtype
        float32, bfloat16 or float16; left out, what the file has, or float32 where that is faster
    """
    from viva import api

    talk = Talk(api.load(model, dtype, adapter), sampling, system)
    for line in _lines():
        if line == "/exit":
            return
        talk.take(line)


class Talk:
    """The messages so far, and what a line does to them."""

    def __init__(self, model: "LanguageModel", sampling: Sampling, system: str | None):
        self.model, self.sampling = model, sampling
        self.reset(system)

    def reset(self, system: str | None) -> None:
        """Begin anew under the instruction `system`, if there is one."""
        self.system = system
        self.messages = [{"role": "system", "content": system}] if system else []

    def take(self, line: str) -> None:
        """Obey a command, or reply to a message; a mistake is told, and ends the program only where nobody types."""
        command, _, rest = line.partition(" ")
        try:
            if command == "/reset":
                self.reset(self.system)
            elif command == "/system":
                self.reset(rest.strip() or None)
            elif line.startswith("/"):
                raise Refusal(f"a command must be one of {', '.join(COMMANDS)}", command, nearest(command, [*COMMANDS]))
            elif line:
                self.reply(line)
        except Refusal as refusal:
            if not sys.stdin.isatty():
                raise
            print(f"viva: {refusal}", file=sys.stderr)

    def reply(self, line: str) -> None:
        """Show the reply as it comes and remember it; Ctrl-C keeps what was written so far."""
        asked, written = [*self.messages, {"role": "user", "content": line}], []
        try:
            for piece in self.model.stream(asked, **dict(self.sampling)):
                print(piece, end="", flush=True)
                written.append(piece)
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
        print()
        self.messages = [*asked, {"role": "assistant", "content": "".join(written)}]


def _lines() -> Iterator[str]:
    """What is typed, or what is piped in, line by line."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin)
        return
    import readline  # noqa: F401 - gives input() its editing keys

    print("\n".join(f"{command:8} {what}" for command, what in COMMANDS.items()))
    while True:
        try:
            yield input("> ").strip()
        except EOFError:
            print()
            return
