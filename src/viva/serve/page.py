"""The page on which people talk with the model: files of serve/web, which run no script but their own."""

from pathlib import Path

from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

WEB = Path(__file__).parent / "web"
FILES = frozenset("/" + path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file())
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{what} {where}" for what, where in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked again each time, so that a new version is seen
}


class Files(StaticFiles):
    """Static files under a strict policy."""

    def __init__(self):
        super().__init__(directory=WEB, html=True)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


class Page(Mount):
    """The routes of these files, and of nothing else: whatever is not there is for the application to answer."""

    def __init__(self):
        super().__init__("/", Files())

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if is_page(scope["path"]) else (Match.NONE, {})


def is_page(path: str) -> bool:
    """Whether a path is the page's, which holds nothing that needs a key."""
    return path == "/" or path in FILES
