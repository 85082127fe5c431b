"""`viva generate`: a text continued, or each of a file."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from viva.base.errors import Refusal
from viva.cli import adapters
from viva.infer.sampling import Sampling

Flags = Annotated[Sampling, Parameter(name="*", negative="")]


def generate(
    model: str,
    prompt: str | None = None,
    *,
    input: str | None = None,
    output: Path | None = None,
    adapter: adapters.Adapters = None,
    dtype: str | None = None,
    threads: int | None = None,
    sampling: Flags = Sampling(),  # noqa: B008
) -> int | None:
    """Continue a text, or answer it by a model with an encoder, shown as it is written; or all prompts of a file, many
    at a time. Stopped at any moment, the same command goes on.

    Example: viva generate runs/quickstart "def add(a, b):" --temperature 0.5 --max-new-tokens 40

    Example: viva generate runs/translate "Ein Hund läuft durch den Schnee." --beams 4

    Example: viva generate runs/quickstart --input prompts.jsonl --output replies.jsonl --seed 1

    Example: viva generate models/qwen2 --input prompts.jsonl --output replies.jsonl --adapter brief=runs/lora-brief

    Parameters
    ----------
    model
        a checkpoint or run folder, any Hugging Face folder of a known family, or a hub id
    prompt
        the text to go on from; of a model with an encoder, the text that it reads, such as one to translate
    input
        a file of rows such as {"prompt": "..."} or {"messages": [...]}, each with sampling of its own if it has any
    output
        the file to write: each row of the input, with its reply
    adapter
        the folder of an adapter, of viva's or of PEFT's, or a run that trained one, for the model to write with; as
        NAME=FOLDER, which may be repeated, for the rows of a file whose field adapter is NAME
    dtype
        float32, bfloat16 or float16; left out, what the file has, or float32 where that is faster
    threads
        compute the prompts of a file with so many; left out, as OMP_NUM_THREADS says or as is measured to be fastest
    """
    plain, named = adapters.apart(adapter or [])
    if input is None and output is None and prompt is not None and threads is None:
        if named:
            found = " and ".join(f"{name}={folder}" for name, folder in named.items())
            raise Refusal("the adapter of one prompt must be given as --adapter FOLDER", found, "leave NAME= out")
        return _one(model, prompt, plain, dtype, sampling)
    if input is not None and output is not None and prompt is None:
        return _many(model, input, output, plain, named, dtype, threads, sampling)
    given = {"PROMPT": prompt, "--input": input, "--output": output, "--threads": threads}
    found = " and ".join(name for name, value in given.items() if value is not None) or "neither"
    fix = "write viva generate MODEL PROMPT, or viva generate MODEL --input FILE --output FILE [--threads N]"
    raise Refusal("there must be a prompt, or a file of them with one to write", found, fix)


def _one(model: str, prompt: str, adapter: str | None, dtype: str | None, sampling: Sampling) -> None:
    from viva import api

    for piece in api.load(model, dtype, adapter).stream(prompt, **dict(sampling)):
        print(piece, end="", flush=True)
    print()


def _many(
    model: str,
    prompts: str,
    out: Path,
    adapter: str | None,
    named: dict[str, str],
    dtype: str | None,
    threads: int | None,
    sampling: Sampling,
) -> int:
    from viva import api
    from viva.cli import rows
    from viva.serve.engine import Engine
    from viva.serve.many import answer
    from viva.text.tokens.fingerprint import digest

    corpus, loaded = rows.corpus(prompts), api.load(model, dtype, adapter)
    facts = {
        "model": _weights(api.located(model)),
        "adapter": None if adapter is None else _weights(api.located(adapter)),
        "adapters": {name: _weights(api.located(folder)) for name, folder in named.items()},
        "number format": str(loaded.model.embedding.weight.dtype),
        "tokenizer": digest(loaded.tokenizer.fingerprint.model_dump(mode="json")),
    }
    with Engine(loaded, named, threads=threads) as engine:
        for note in (*corpus.notes(), *engine.notes()):
            print(f"viva: {note}", file=sys.stderr)
        done = answer(engine, corpus, out, dict(sampling), facts)
    if done.failed:
        what = f"{done.failed:,} rows failed, so {out} is not written: the same command tries them again"
        print(f"viva: {what}", file=sys.stderr)
        return 1
    ends = ", ".join(f"{count:,} by {end}" for end, count in sorted(done.ends.items())) or "none"
    now = f"ended now {ends}, {done.tokens:,} tokens at {done.speed:.1f} tokens/s"
    print(f"{out}: {done.rows:,} rows answered, {done.before:,} of them before; {now}")
    return 0


def _weights(place: Path) -> dict[str, str]:
    """The SHA-256 of each file of weights, as viva.json says or by reading it."""
    from viva.base.files import sha256
    from viva.model import folder

    listed = (folder.manifest(place) or {}).get("files", {})
    return {file.name: listed.get(file.name) or sha256(file) for file in sorted(place.glob("*.safetensors"))}
