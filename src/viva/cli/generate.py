"""`viva generate`: a text continued."""

from typing import Annotated

from cyclopts import Parameter

from viva.infer.sampling import Sampling

Flags = Annotated[Sampling, Parameter(name="*", negative="")]


def generate(
    model: str,
    prompt: str,
    *,
    adapter: str | None = None,
    dtype: str | None = None,
    sampling: Flags = Sampling(),  # noqa: B008
) -> None:
    """Continue a text, or answer it by a model with an encoder, shown as it is written.

    Example: viva generate runs/quickstart "def add(a, b):" --temperature 0.5 --max-new-tokens 40

    Example: viva generate runs/translate "Ein Hund läuft durch den Schnee." --beams 4

    Parameters
    ----------
    model
        a checkpoint or run folder, any Hugging Face folder of a known family, or a hub id
    prompt
        the text to go on from; of a model with an encoder, the text that it reads, such as one to translate
    adapter
        the folder of an adapter, of viva's or of PEFT's, or a run that trained one, for the model to write with
    dtype
        float32, bfloat16 or float16; left out, what the file has, or float32 where that is faster
    """
    from viva import api

    for piece in api.load(model, dtype, adapter).stream(prompt, **dict(sampling)):
        print(piece, end="", flush=True)
    print()
