"""The command line: a verb for each thing a user does, one file each.

A user's mistake is one sentence on stderr and exit code 2; `--debug` shows where it came from. Heavy imports stand
inside the verbs, so that `viva --help` does not wait for torch.
"""

import os
import sys

from cyclopts import App, CycloptsError
from pydantic import ValidationError

from viva.base.config import refusal
from viva.base.errors import Refusal, notices
from viva.cli import (
    average,
    back_translate,
    chat,
    compare,
    data,
    doctor,
    fields,
    generate,
    health,
    lineage,
    merge,
    quickstart,
    reward,
    search,
    serve,
    tokenizer,
    train,
)

app = App(
    name="viva",
    help="The whole life of a large model: text, tokenizer, training, tuning, a model you talk to.",
    help_epilogue="`viva VERB --help` shows an example. `--debug` shows where an error came from.",
    help_format="markdown",
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    print_error=False,
    exit_on_error=False,
)
for verb in (quickstart.quickstart, train.train, search.search, generate.generate, chat.chat, serve.serve, merge.merge):
    app.command(verb, help_format="plaintext")
app.command(tokenizer.app)
app.command(data.app)
app.command(reward.app)
for verb in (average.average, back_translate.back_translate):
    app.command(verb, help_format="plaintext")
for verb in (compare.compare, fields.fields, health.health, doctor.doctor, lineage.lineage):
    app.command(verb, help_format="plaintext")


def main(words: list[str] | None = None) -> int:
    """Run the verb that the command line names; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    debug = "--debug" in words
    try:
        with notices(lambda said: print(f"viva: {said}", file=sys.stderr)):
            code = app([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code or 0
    except (Refusal, CycloptsError) as mistake:
        if debug:
            raise
        print(f"viva: {_sentence(mistake)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if debug or error.filename is None:
            raise
        fix = "check the path and who may read or write it"
        print(f"viva: {Refusal(f'{error.filename} must be usable', error.strerror, fix)}", file=sys.stderr)
        return 2


def _sentence(mistake: Refusal | CycloptsError) -> str:
    if isinstance(mistake, Refusal):
        return str(mistake)
    if isinstance(mistake.__cause__, ValidationError):
        return str(refusal(mistake.__cause__, "the command line"))
    mistake.verbose = False
    found = " ".join(str(mistake).split()).rstrip(".")
    return str(Refusal("the words of a command must be those of its verb", found, "see `viva VERB --help`"))
