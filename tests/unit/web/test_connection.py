"""Accepting connections, and ceasing to."""

import asyncio
import socket
from typing import Any

from cgexporter.web.connection import Answer, Connections, Request
from cgexporter.web.limits import Limits
from cgexporter.web.status import WebStatus


async def _no_answer(request: Request) -> Answer:
    raise AssertionError(f"nobody asked for {request}")


def test_ceasing_to_accept_when_somebody_comes() -> None:
    """Who comes in the very moment is left to whoever listens next, and nothing is reported."""
    reports: list[dict[str, Any]] = []

    async def cease() -> tuple[int, str]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report))
        status = WebStatus()
        connections = Connections(_no_answer, Limits(), None, status)
        accepting = asyncio.create_task(connections.accept(listener))
        await asyncio.sleep(0.01)
        bell, rope = socket.socketpair()
        with bell, rope:
            loop.add_reader(bell, accepting.cancel)
            rope.send(b"!")
            client.connect(listener.getsockname())
            await asyncio.wait([accepting])
            loop.remove_reader(bell)
        await asyncio.sleep(0.01)
        next_one, place = listener.accept()
        next_one.close()
        return status.connections, place

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        assert asyncio.run(cease()) == (0, client.getsockname())
    assert reports == []
