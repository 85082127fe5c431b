"""What is answered instead of a reply, in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from viva.base.errors import Refusal
from viva.serve.schema.common import Fault

TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
FACTS = "viva"  # in a request's scope: what its line in the log tells
FIELD = ("unknown_key", "no_switch")  # of base/config.py: told of the section, with the key beside it
NO_OBJECT = ("missing", "model_attributes_type", "model_type")  # of the body as a whole
TRIED = ("str", "bool", "int", "float", "ToolChoice")  # types of a union, which are no names of fields

T = TypeVar("T")


class Trouble(Exception):
    """Why a request is not answered; `status` is HTTP's, `param` the field that is at fault, `field` what the log tells
    of it: the name of a field of ours, where `param` may have words of the client's.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        field: str | None = None,
    ):
        super().__init__(message)
        kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        self.status, self.fault = status, Fault(message=message, type=kind, param=param, code=code)
        self.field = field or param
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    @property
    def body(self) -> bytes:
        """As JSON in ASCII, whatever was found in the request."""
        return json.dumps({"error": self.fault.model_dump()}).encode()

    def note(self, facts: dict[str, Any]) -> None:
        """Let the log, and the metrics, know of it."""
        facts |= {"error": str(self), "code": self.fault.code or self.fault.type}
        if self.field is not None:
            facts["param"] = self.field

    def response(self, scope: Scope) -> Response:
        """The answer to the request of this scope."""
        self.note(scope.setdefault(FACTS, {}))
        return Response(self.body, self.status, self.headers, "application/json")


def closing() -> Trouble:
    """What is told to those who come, or still wait, when the server ends."""
    return Trouble(503, "the server is shutting down", code="shutting_down", retry_after=5)


def late(limit: float) -> Trouble:
    """What is told to those whose answer takes too long; `limit` in seconds."""
    return Trouble(504, f"a request must be answered within {limit:g} s here", code="timeout")


def refusing(made: Callable[[], T], param: str | None) -> T:
    """What `made` gives; where it refuses, the client is told so, and the field."""
    try:
        return made()
    except Refusal as refusal:
        raise refused(refusal, param) from None


def refused(refusal: Refusal, param: str | None = None) -> Trouble:
    """The sentence of a Refusal, as the client's mistake."""
    return Trouble(400, str(refusal), param)


def invalid(error: RequestValidationError) -> Trouble:
    """The deepest fault of a body that matches no schema, with how many more there are: of a field that may be of
    several types, the one that was meant is told.
    """
    faults = error.errors()
    first = max(faults, key=lambda fault: (len(fault["loc"]), not fault["type"].endswith("_type")))
    if first["type"] == "json_invalid":
        return Trouble(400, f"the body must be JSON, but is not: {first['ctx']['error']} at {first['loc'][-1]}")
    if first["type"] in NO_OBJECT and len(first["loc"]) == 1:
        return Trouble(400, "the body must be a JSON object, sent with Content-Type: application/json")
    param = _param(first)
    message = first["msg"].removeprefix("Value error, ")
    where = f"{param}: " if param else ""
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    return Trouble(400, f"{where}{message}{more}", param, field=_field(first))


def _param(fault: dict[str, Any]) -> str | None:
    """The field at fault, as in messages.0.content, without the names of the variants that were tried for it."""
    named = lambda part: isinstance(part, int) or part.isdigit() or (part.isidentifier() and part not in TRIED)  # noqa: E731
    path = [*filter(named, fault["loc"][1:])]
    context = fault.get("ctx", {})
    if fault["type"] in FIELD:
        path.append(context["key"].strip("'\""))
    elif "param" in context:
        path.append(context["param"])
    return ".".join(ascii(part).strip("'") for part in path) or None


def _field(fault: dict[str, Any]) -> str:
    """The part of that path which is never the client's: what lies deeper may be keys of theirs, and so may the key."""
    return fault["loc"][1] if len(fault["loc"]) > 1 else fault.get("ctx", {}).get("param", "body")


def install(app: FastAPI) -> None:
    """Answer every error of a route in this form."""

    @app.exception_handler(Trouble)
    async def troubled(request: Request, trouble: Trouble) -> Response:
        return trouble.response(request.scope)

    @app.exception_handler(RequestValidationError)
    async def invalid_body(request: Request, error: RequestValidationError) -> Response:
        return invalid(error).response(request.scope)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        unread = error.status_code == 400  # FastAPI's word for bytes that are no text
        made = Trouble(error.status_code, "the body must be JSON in UTF-8" if unread else str(error.detail))
        made.headers |= dict(error.headers or {})
        return made.response(request.scope)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return Trouble(500, f"{type(error).__name__} inside the server: see its log").response(request.scope)
