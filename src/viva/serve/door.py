"""Who comes while all places are taken is told so by the head of the request: nothing more of it is read or parsed."""

from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from viva.serve.body import refuse
from viva.serve.errors import Trouble


class Door:
    """ASGI middleware: before a request of a path is read, what `require` has for that path may refuse it."""

    def __init__(self, app: ASGIApp, require: Mapping[str, Callable[[], None]]):
        self.app, self.require = app, require

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self.require:
                self.require[scope["path"]]()
        except Trouble as trouble:
            await refuse(trouble, scope, receive, send)
            return
        await self.app(scope, receive, send)
