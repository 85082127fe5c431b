"""`viva serve`: a model for many users, over HTTP."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from viva.base import machine
from viva.base.errors import Refusal
from viva.cli.adapters import Adapters, by_name, split
from viva.serve.limits import Limits

Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Bounds = Annotated[Limits, Parameter(name="*", negative="")]


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: Port = 8000,
    name: str | None = None,
    adapter: Adapters = None,
    embed: str | None = None,
    dtype: str | None = None,
    rows: int = 64,
    tokens: int | None = None,
    draft: str | None = None,
    threads: Count | None = None,
    api_key_file: Path | None = None,
    insecure: bool = False,
    allow_origin: list[str] | None = None,
    log_prompts: bool = False,
    limits: Bounds = Limits(),  # noqa: B008
) -> None:
    """Serve a model to many users at once, by OpenAI's protocol and on a page to talk on.

    Example: viva serve runs/quickstart

    Example: viva serve models/qwen2 --adapter brief=runs/lora-brief --host 0.0.0.0 --api-key-file keys.txt

    Parameters
    ----------
    model
        a checkpoint or run folder, any Hugging Face folder of a known family, or a hub id
    host
        the address to listen at; others than this machine's own need keys
    port
        the port to listen at; 0 takes a free one
    name
        what requests call the model; left out, the last part of MODEL
    adapter
        NAME=FOLDER of an adapter, which requests ask for by NAME as their model; may be repeated
    embed
        FOLDER, or NAME=FOLDER, of a model with the head embed, for /v1/embeddings; its name else is FOLDER's last part
    dtype
        float32, bfloat16 or float16; left out, what the file has, or float32 where that is faster
    rows
        so many replies are written at a time
    tokens
        room for keys and values of so many tokens; left out, what memory holds
    draft
        who guesses tokens ahead: ngram, or a smaller model with the same tokens; replies stay the same
    threads
        compute with so many; left out, as OMP_NUM_THREADS says or as is measured to be the fastest
    api_key_file
        a file of keys, one a line; every request needs one, but for /health, /ready and the files of the page
    insecure
        listen without keys where others reach it, and be asked by any name (Host)
    allow_origin
        the origin of another page, such as https://example.org, that browsers may let ask, or *; may be repeated
    log_prompts
        write requests and replies to the log, too
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        fix = "pip install 'viva[serve]'"
        raise Refusal("serving must have its web framework", f"no package {error.name}", fix) from None
    machine.keep_few_kernels()
    from viva import api
    from viva.serve import app, keys, listen, origins
    from viva.serve.embedding import Embedder
    from viva.serve.engine import Engine
    from viva.serve.server import Server
    from viva.serve.service import Service

    adapters, called = by_name(adapter or []), _called(name, model)
    vectors, encoder = (None, None) if embed is None else _embedder(embed)
    _require_apart([called, *adapters, *([] if vectors is None else [vectors])])
    known = () if api_key_file is None else keys.read(api_key_file)
    keys.require_guarded(host, known, insecure)
    origins.require(allow_origin or ())
    sockets = listen.bound(host, port)
    embedder = None if encoder is None else Embedder(api.load(encoder), vectors, limits)
    guesses = draft if draft in (None, "ngram") else {"kind": "model", "model": draft}
    engine = Engine(api.load(model, dtype), adapters, rows=rows, tokens=tokens, draft=guesses, threads=threads)
    for note in engine.notes():
        print(f"viva: {note}", file=sys.stderr)
    service = Service(engine, called, limits, log_prompts)
    made = app.make(service, embedder, known, allow_origin or (), here=not (known or insecure))
    server = Server(made, service, host, port)
    machine.leave_loaded_objects()
    server.run(sockets)


def _last(path: str) -> str:
    return Path(path).resolve().name if Path(path).exists() else path


def _called(name: str | None, model: str) -> str:
    """What requests call the model."""
    if name == "":
        raise Refusal("--name must be what requests call the model", "an empty one", "leave it out, or give one")
    return _last(model) if name is None else name


def _embedder(told: str) -> tuple[str, str]:
    """Name and folder."""
    name, folder = split(told)
    if name is None:
        return _last(told), told
    if not name or not folder:
        raise Refusal("a model for embeddings must be given as FOLDER or NAME=FOLDER", repr(told), "write vectors=emb")
    return name, folder


def _require_apart(names: list[str]) -> None:
    """Refuse two models of one name: a request could mean either."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        fix = "give --name, --adapter NAME=FOLDER or --embed NAME=FOLDER with another"
        raise Refusal("each model must have a name of its own", f"two called {twice[0]!r}", fix)
