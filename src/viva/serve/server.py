"""A process that serves: it listens, and ends when it is told to, with what is being written."""

import asyncio
import socket

import uvicorn
from fastapi import FastAPI

from viva.serve import log
from viva.serve.service import Service

SPARE = 5.0  # seconds beyond the grace in which those who wait read that the server ends


class Server(uvicorn.Server):
    """Told to end (SIGTERM, Ctrl-C), it takes nothing on, lets what is being written end for `grace` seconds, and tells
    the others.
    """

    def __init__(self, app: FastAPI, service: Service, host: str = "127.0.0.1", port: int = 8000):
        grace = service.limits.grace
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(grace + SPARE) + 1,
            )
        )
        self.service, self.grace = service, grace

    @property
    def port(self) -> int:
        """Where it listens; port 0 takes a free one."""
        return self.servers[0].sockets[0].getsockname()[1]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            log.write({"event": "started", "host": self.config.host, "port": self.port, "model": self.service.name})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.closed = True
        log.write({"event": "ending", "jobs": len(self.service.jobs), "grace": self.grace})
        ending = asyncio.get_running_loop().call_later(self.grace, self.service.end)
        try:
            await super().shutdown(sockets)
        finally:
            ending.cancel()
            await asyncio.to_thread(self.service.engine.close)
