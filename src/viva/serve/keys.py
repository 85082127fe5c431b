"""Who may ask: keys, and where a server without them may listen."""

import hmac
from collections.abc import Callable
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from viva.base.errors import Refusal
from viva.serve.errors import Trouble
from viva.serve.hosts import is_here

SHORTEST = 16  # characters of a key


def read(path: str | Path) -> tuple[bytes, ...]:
    """The keys in a file, one a line; empty lines and those that begin with # are none."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()  # some editors begin it with a mark
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal("a file of keys must be readable text", f"{path}: {error}", "write a key a line") from None
    keys = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    fix = "write one a line, such as what `openssl rand -hex 24` prints"
    if not keys:
        raise Refusal("a file of keys must have one at least", f"none in {path}", fix)
    if short := [number for number, key in enumerate(keys, 1) if len(key) < SHORTEST]:
        raise Refusal(f"a key must have {SHORTEST} characters or more", f"fewer in key {short[0]} of {path}", fix)
    return tuple(key.encode() for key in keys)


def require_guarded(host: str, keys: tuple[bytes, ...], insecure: bool) -> None:
    """Refuse a server without keys where others than this machine reach it, unless that is meant."""
    if keys or insecure or is_here(host):
        return
    fix = "give --api-key-file FILE, or --insecure if everyone who reaches the port may use the model"
    raise Refusal("a server that others reach must have keys", f"--host {host} and none", fix)


class Keys:
    """ASGI middleware: 401 without a known key in `Authorization: Bearer KEY`, but for paths that `is_open`.

    A key is compared with each known one, in a time that tells nothing of how much of it was right.
    """

    def __init__(self, app: ASGIApp, keys: tuple[bytes, ...], is_open: Callable[[str], bool]):
        self.app, self.keys, self.is_open = app, keys, is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self.is_open(scope["path"]) and not self._known(scope):
            message = "a request must have a key of this server, as `Authorization: Bearer KEY`"
            trouble = Trouble(401, message, code="invalid_api_key")
            trouble.headers["WWW-Authenticate"] = "Bearer"
            await trouble.response(scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _known(self, scope: Scope) -> bool:
        scheme, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        matches = [hmac.compare_digest(given.strip(), key) for key in self.keys]
        return scheme.lower() == b"bearer" and any(matches)
