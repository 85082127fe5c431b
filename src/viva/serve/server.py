"""A process that serves: it listens, and ends when it is told to, with what is being written."""

import asyncio
import socket
import time

import uvicorn
from fastapi import FastAPI

from viva.serve import log
from viva.serve.service import Service

SPARE = 5.0  # seconds beyond the grace in which those who wait read that the server ends
TICK = 0.1  # seconds between looks at the clock, and at whether Ctrl-C was pressed again


class Server(uvicorn.Server):
    """Told to end (SIGTERM, Ctrl-C), it takes nothing on and says so, lets what is being written end for `grace`
    seconds, tells the others, and listens no more.
    """

    def __init__(self, app: FastAPI, service: Service, host: str = "127.0.0.1", port: int = 8000):
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(SPARE),
            )
        )
        self.service, self.grace = service, service.limits.grace

    @property
    def port(self) -> int:
        """Where it listens; port 0 takes a free one."""
        return self.servers[0].sockets[0].getsockname()[1]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            log.write({"event": "started", "host": self.config.host, "port": self.port, "model": self.service.name})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.ending.set()
        log.write({"event": "ending", "jobs": len(self.service.jobs), "grace": self.grace})
        try:
            if not await self._answered(self.grace):
                self.service.end()
                await self._answered(SPARE)
            await super().shutdown(sockets)
        finally:
            await asyncio.to_thread(self.service.engine.close)

    async def _answered(self, seconds: float) -> bool:
        """Whether what is being answered now is, within so many seconds. Meanwhile who comes is told that the server
        ends: a port that is closed would say the same as a server that has crashed.
        """
        asked, until = set(self.server_state.tasks), time.monotonic() + seconds
        while asked and time.monotonic() < until and not self.force_exit:
            _, asked = await asyncio.wait(asked, timeout=TICK)
        return not asked
