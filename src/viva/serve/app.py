"""The routes."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from viva.serve import chat, completion, errors, page, stream
from viva.serve.body import Body
from viva.serve.door import Door
from viva.serve.embedding import Embedder
from viva.serve.errors import FACTS, Trouble
from viva.serve.hosts import Here
from viva.serve.keys import Keys
from viva.serve.log import Log
from viva.serve.schema import chat as chat_schema
from viva.serve.schema import completion as completion_schema
from viva.serve.schema import embedding as embedding_schema
from viva.serve.schema.common import Faulty
from viva.serve.schema.models import Model, Models
from viva.serve.service import Job, Service, named

OPEN = ("/health", "/ready")  # of these nobody needs a key
FAULTS = {status: {"model": Faulty} for status in ("4XX", "5XX")}
EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
STREAMED = {**FAULTS, 200: {"content": {"text/event-stream": {"schema": EVENT}}}}  # beside JSON, where stream is true
LEFT = 499  # nginx's status of a request whose client did not wait for the answer
METRICS = "text/plain; version=0.0.4; charset=utf-8"


def make(
    service: Service,
    embedder: Embedder | None = None,
    keys: tuple[bytes, ...] = (),
    origins: Sequence[str] = (),
    here: bool = False,
) -> FastAPI:
    """The application: `keys` that are needed, `origins` of other pages that browsers may let ask; `here` whether it is
    asked by this machine's own names alone.
    """
    app = FastAPI(title="viva", version="1", docs_url=None, redoc_url=None)
    errors.install(app)
    _routes(app, service, embedder)
    app.router.routes.append(page.Page())
    app.add_middleware(Body, most=service.limits.body, patience=service.limits.patience, ending=service.ending)
    app.add_middleware(Door, require=_doors(service, embedder))
    if keys:
        app.add_middleware(Keys, keys=keys, is_open=lambda path: path in OPEN or page.is_page(path))
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=[*origins], allow_methods=["*"], allow_headers=["*"])
    if here:
        app.add_middleware(Here)
    app.add_middleware(Log, metrics=service.metrics, show=service.show)
    return app


def _routes(app: FastAPI, service: Service, embedder: Embedder | None) -> None:
    @app.post("/v1/chat/completions", response_model=chat_schema.Response, responses=STREAMED)
    async def chat_completions(body: chat_schema.Request, request: Request) -> Response:
        """The assistant's next message."""
        messages = errors.refusing(lambda: [message.plain() for message in body.messages], "messages")
        form = named(chat.Form, service, body, request.scope[FACTS])
        taking = service.take(body, [messages], body.tools_wanted, "messages", request.scope[FACTS])
        return await _answered(request, taking, form)

    @app.post("/v1/completions", response_model=completion_schema.Response, responses=STREAMED)
    async def completions(body: completion_schema.Request, request: Request) -> Response:
        """What follows a text."""
        form = named(completion.Form, service, body, request.scope[FACTS])
        taking = service.take(body, body.prompts, None, "prompt", request.scope[FACTS])
        return await _answered(request, taking, form)

    @app.post("/v1/embeddings", responses=FAULTS)
    async def embeddings(body: embedding_schema.Request, request: Request) -> embedding_schema.Response:
        """Vectors of texts."""
        if embedder is None:
            raise Trouble(404, "this server has no model for embeddings: it was started without --embed", "model")
        service.require_open()
        return await embedder.answer(body, request.scope[FACTS], service.show)

    @app.get("/v1/models")
    async def models() -> Models:
        """What may be asked."""
        return Models(data=_models(service, embedder))

    @app.get("/v1/models/{name:path}", responses=FAULTS)
    async def model(name: str) -> Model:
        """One of them."""
        for known in _models(service, embedder):
            if known.id == name:
                return known
        raise Trouble(404, f"there is no model {name!a}: see /v1/models", "model", "model_not_found")

    @app.get("/health", responses=FAULTS)
    async def health() -> dict[str, str]:
        """Whether the process can serve at all."""
        if not service.engine.alive:
            raise Trouble(503, "the engine has broken: the server must be started again", code="engine_broken")
        return {"status": "ok"}

    @app.get("/ready", responses=FAULTS)
    async def ready() -> dict[str, str]:
        """Whether requests are taken on now."""
        service.require_open()
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {METRICS: {}}}})
    async def metrics() -> Response:
        """What Prometheus reads."""
        return Response(service.metrics.page(), headers={"Content-Type": METRICS})


async def _answered(request: Request, taking, form) -> Response:
    """The answer, whole or as events; a client that leaves ends it."""
    job: Job | None = await stream.unless_left(request.receive, taking)
    if job is None:
        return Response(status_code=LEFT)
    if job.body.stream:
        return stream.Events(job.events(form), job.service.limits.patience, job.close)
    made = await stream.unless_left(request.receive, job.whole(form))
    if made is None:
        return Response(status_code=LEFT)
    return Response(made.model_dump_json(), media_type="application/json")


def _doors(service: Service, embedder: Embedder | None) -> dict[str, Callable[[], None]]:
    """Which routes take places, and what must be for them to have one."""
    asked = dict.fromkeys(("/v1/chat/completions", "/v1/completions"), service.require_place)
    return asked if embedder is None else {**asked, "/v1/embeddings": embedder.places.require}


def _models(service: Service, embedder: Embedder | None) -> list[Model]:
    told = {"created": service.created}
    found = [
        Model(id=name, parent=service.name if adapter else None, max_model_len=service.engine.room(adapter), **told)
        for name, adapter in service.adapters.items()
    ]
    return found if embedder is None else [*found, Model(id=embedder.name, **told)]
