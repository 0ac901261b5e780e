"""The app in a browser, served by textual-serve. Who has the link can run code here, so nobody else is let in."""

import asyncio
import contextlib
import hmac
import logging
import secrets
import shlex
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from backpropdbg.errors import UsageError

LOOPBACK = "127.0.0.1"
POLICY = "default-src 'self' 'unsafe-inline' data: blob:; connect-src 'self' ws: wss:; frame-ancestors 'none'"
MISSING = "argument --web: needs the package textual-serve; pip install 'backpropdbg[web]'"


class Guard:
    """Lets in whoever came by the link with its one-time token, which a cookie remembers for this browser.

    A page of another site can't use that cookie, and a page of this machine's other servers has another origin.
    """

    def __init__(self, origin: str, port: int) -> None:
        self.origin = origin
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"backpropdbg_{port}"
        self._visits: set[asyncio.Task[Any]] = set()

    @property
    def link(self) -> str:
        """What to open."""
        return f"{self.origin}/?token={self.token}"

    def knows(self, token: str) -> bool:
        """True for the token of the link."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode())

    async def check(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """Answer a request, or refuse it."""
        from aiohttp import web

        if request.path == "/" and self.knows(request.query.get("token", "")):
            answer = web.HTTPFound("/")
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="Strict")
            return answer
        if not self.knows(request.cookies.get(self.cookie, "")):
            return web.Response(status=403, text="open the link that backpropdbg printed: it has a token\n")
        if request.path == "/ws" and request.headers.get("Origin") != self.origin:
            return web.Response(status=403, text="from another page\n")
        task = asyncio.current_task()
        if request.path == "/ws" and task is not None:
            self._visits.add(task)
            task.add_done_callback(self._visits.discard)
        response = await handler(request)
        if not response.prepared:
            response.headers["Content-Security-Policy"] = POLICY
        return response

    async def close(self, app: object) -> None:
        """Send the visitors away: the server would wait for them."""
        for task in list(self._visits):
            task.cancel()


def serve(words: Sequence[str], host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the app that a command line starts, one for each visitor, until Ctrl-C. Raises UsageError."""
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ImportError:
        raise UsageError(MISSING) from None

    _check_free(host, port)
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    guard = Guard(f"http://{f'[{name}]' if ':' in name else name}:{port}", port)
    server: Any = Server(shlex.join(words), host=host, port=port, title="backpropdbg", public_url=guard.origin)
    make = server._make_app

    async def guarded() -> Any:
        app = await make()
        app.middlewares.append(web.middleware(checked))
        return app

    async def checked(request: Any, handler: Any) -> Any:
        return await guard.check(request, handler)

    async def announce() -> None:
        await _listening(host, port)
        say(f"{guard.link}\nclick into the page, then use the keys; ctrl+c here ends it")
        say("whoever has this link can run code here as you: keep it to yourself")

    tasks = set[asyncio.Task[None]]()

    async def started(app: object) -> None:
        tasks.add(asyncio.create_task(announce()))

    server._make_app, server.on_startup, server.on_shutdown = guarded, started, guard.close
    server.initialize_logging = lambda: logging.getLogger("textual-serve").setLevel(logging.CRITICAL)
    server.serve()


async def _listening(host: str, port: int) -> None:
    """Wait until the server answers: that is after it has started up."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


def _check_free(host: str, port: int) -> None:
    """Raise UsageError where nobody can listen there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError:
        raise UsageError(f"argument --host: {host!r} is no address of this machine") from None
    with contextlib.closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"argument --port: can't listen at {host}:{port}: {error.strerror}") from None
