"""A line of JSON for each request, without what was said unless that is asked for; never a key."""

import json
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viva.serve.errors import FACTS
from viva.serve.metrics import Metrics


def write(facts: dict[str, Any], to: TextIO | None = None) -> None:
    """One line, with the time."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}
    print(json.dumps(line), file=to or sys.stdout, flush=True)


def asked(body: BaseModel, show: bool) -> dict[str, Any]:
    """What a line tells of a request: `model` and `user`, and with `show` all of it."""
    user = {} if body.user is None else {"user": body.user}
    whole = {"request": body.model_dump(exclude_unset=True)} if show else {}
    return {"model": body.model} | user | whole


class Log:
    """ASGI middleware: logs and counts each request when its answer ends, and names it in X-Request-Id. The sentence of
    an error, which may quote the request, is told with `show` alone.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, show: bool = False, to: TextIO | None = None):
        self.app, self.metrics, self.show, self.to = app, metrics, show, to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number, began, status = secrets.token_hex(12), time.monotonic(), 0
        facts = scope[FACTS] = {"id": number}

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", number.encode())]}
            await send(message)

        try:
            await self.app(scope, receive, named)
        except BaseException:
            status = status or 500
            raise
        finally:
            self.metrics.requests.labels(getattr(scope.get("route"), "path", "other"), status).inc()
            if status >= 400:
                self.metrics.refusals.labels(status, facts.get("code", "other")).inc()
            seconds = round(time.monotonic() - began, 4)
            told = {"method": scope["method"], "path": scope["path"], "status": status, "seconds": seconds}
            known = {name: fact for name, fact in facts.items() if self.show or name != "error"}
            write({**told, **known}, self.to)
