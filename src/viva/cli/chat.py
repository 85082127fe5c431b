"""`viva chat`: a conversation in the terminal."""

import sys

from viva.cli.generate import Flags
from viva.cli.talk import Talk
from viva.cli.typed import Said, messages
from viva.infer.sampling import Sampling


def chat(
    model: str,
    *,
    system: str | None = None,
    adapter: str | None = None,
    dtype: str | None = None,
    sampling: Flags = Sampling(),  # noqa: B008
) -> None:
    """Talk to a model. A line is a message, or a command: /help shows them. Ctrl-C stops a reply.

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

    typed = sys.stdin.isatty()
    talk = Talk(api.load(model, dtype, adapter), sampling, system, typed)
    if typed:
        talk.take(Said("", "/help"))
    for said in messages():
        talk.take(said)
