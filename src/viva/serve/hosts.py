"""By which names a server may be asked that trusts everyone on its machine.

A page from elsewhere may have its own name lead to this machine (DNS rebinding); a browser then takes the server for
that page's, and lets it ask. The name still stands in `Host`.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from viva.serve.errors import Trouble


def is_here(name: str) -> bool:
    """Whether a name or an address is this machine's own, as seen from itself."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class Here:
    """ASGI middleware: 421 for a request whose `Host` is not this machine's own, whatever the port."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
        if scope["type"] == "http" and not is_here(_name(host)):
            message = (
                f"a server without keys must be asked as localhost, 127.0.0.1 or [::1], but was as {host!a}: start it"
                " with --api-key-file, or with --insecure if every page may use the model"
            )
            await Trouble(421, message, code="unknown_host").response(scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _name(host: str) -> str:
    """Of a Host, without the port, in small letters; "" where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
