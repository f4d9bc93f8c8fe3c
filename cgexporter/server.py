"""What is served: asyncio owns sockets and timers, one thread scans and one renders.

Connections, TLS and who may ask are `web`'s.
"""

import asyncio
import contextlib
import gc
import logging
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cgexporter import __version__
from cgexporter.correlate.view import View
from cgexporter.exporter import Exporter, age_seconds
from cgexporter.own import parts
from cgexporter.publish import Format
from cgexporter.scan import ScanTimeoutError
from cgexporter.web.connection import Answer, Connections, Request
from cgexporter.web.gzip import Gzip
from cgexporter.web.limits import Limits
from cgexporter.web.listen import handed_over, listen
from cgexporter.web.status import WebStatus

log = logging.getLogger(__name__)

# A scrape is answered this long before its client gives up.
_TIMEOUT_MARGIN_SECONDS = 0.5
_DEFAULT_TIMEOUT_SECONDS = 10.0
# Longer than that without a finished scan while one is wanted: the scanner hangs.
_HANGING_SECONDS = 120.0
_CLOSE_SECONDS = 10.0
# malloc.h
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BYTES = 128 * 1024


class UnavailableError(Exception):
    """No snapshot to answer with; the message says why."""


def negotiate(accept: str) -> Format:
    """Choose the format a client prefers; the text format where it names none of ours."""
    best, best_quality = Format.TEXT, 0.0
    for offer in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in offer.split(";"))
        quality, version = 1.0, ""
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
            elif name == "version":
                version = value
        form = {
            ("application/openmetrics-text", "1.0.0"): Format.OPENMETRICS,
            ("application/openmetrics-text", ""): Format.OPENMETRICS,
            ("text/plain", "0.0.4"): Format.TEXT,
            ("text/plain", ""): Format.TEXT,
            ("*/*", ""): Format.TEXT,
        }.get((kind, version))
        if form is not None and quality > best_quality:
            best, best_quality = form, quality
    return best


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client takes gzip. Source: RFC 9110, section 12.5.3."""
    wanted: dict[str, bool] = {}
    for offer in accept_encoding.lower().split(","):
        coding, _, parameter = (part.strip() for part in offer.partition(";"))
        wanted[coding] = not re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter)
    return wanted.get("gzip", wanted.get("*", False))


def time_limit_seconds(header: str) -> float:
    """How long a scrape may take, from X-Prometheus-Scrape-Timeout-Seconds."""
    try:
        limit = float(header)
    except ValueError:
        limit = _DEFAULT_TIMEOUT_SECONDS
    if not 0.001 <= limit < 3600:  # also NaN
        limit = _DEFAULT_TIMEOUT_SECONDS
    return max(limit - _TIMEOUT_MARGIN_SECONDS, limit / 2)


@dataclass(slots=True)
class Scrapes:
    """Fresh snapshots for those who ask; who asks during a scan gets that one.

    One thread scans and one renders, so that nothing in the exporter needs a lock, and the
    last snapshot can be had while a scan hangs.
    """

    exporter: Exporter
    status: WebStatus = field(default_factory=WebStatus)
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="scan")
    )
    _render_thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="render")
    )
    _scan: asyncio.Task[View] | None = None
    _scan_began: float = 0.0
    _pages: dict[tuple[int, Format, bool], asyncio.Task[bytes]] = field(default_factory=dict)
    _catching_up: asyncio.Future[None] | None = None
    _gzip: Gzip = field(default_factory=Gzip)
    view: View | None = None

    @property
    def hanging(self) -> bool:
        """Whether a scan runs for so long that it will not end."""
        return self._scan is not None and time.monotonic() - self._scan_began > _HANGING_SECONDS

    async def fresh(self, limit: float) -> View:
        """A new snapshot, or the last one where none is ready within `limit` seconds.

        Raises:
            UnavailableError: there is neither.
        """
        if self._scan is None:
            self._scan_began = time.monotonic()
            self._scan = asyncio.create_task(self._look())
        try:
            return await asyncio.wait_for(asyncio.shield(self._scan), limit)
        except (TimeoutError, ScanTimeoutError):
            problem = f"no scan of this host finished within {limit:.1f} s"
        except Exception as exc:
            problem = f"the scan failed: {exc}"
        if self.view is None:
            raise UnavailableError(problem)
        log.warning("%s; answering with a snapshot %.1f s old", problem, age_seconds(self.view))
        return self.view

    async def _look(self) -> View:
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + _HANGING_SECONDS
        try:
            view = await loop.run_in_executor(self._thread, self.exporter.look, deadline)
        except Exception as exc:
            if not isinstance(exc, ScanTimeoutError):
                log.exception("scan failed")
            raise
        else:
            self.view = view
            self.exporter.resolver.want(view)
            self.exporter.say_unsupported()
            return view
        finally:
            self._scan = None

    async def page(self, view: View, form: Format, gzip: bool) -> bytes:
        """The page of a snapshot; rendered once for all who want the same."""
        key = (id(view), form, gzip)
        task = self._pages.get(key)
        if task is None:
            task = self._pages[key] = asyncio.create_task(self._render(view, form, gzip))
            task.add_done_callback(lambda _: self._pages.pop(key, None))
        return await asyncio.shield(task)

    async def _render(self, view: View, form: Format, gzip: bool) -> bytes:
        def render() -> bytes:
            page = parts(self.exporter, view, form, self.status)
            return self._gzip.compress(page) if gzip else b"".join(page)

        loop = asyncio.get_running_loop()
        page = await loop.run_in_executor(self._render_thread, render)
        # Not beside the rendering, which would wait for it.
        if self._catching_up is None or self._catching_up.done():
            self._catching_up = loop.run_in_executor(self._thread, self.exporter.catch_up)
            self._catching_up.add_done_callback(_log_failure)
        return page

    async def close(self) -> None:
        """Wait for work under way and close the exporter.

        Raises:
            TimeoutError: a scan hangs; its thread cannot be ended.
        """
        loop = asyncio.get_running_loop()
        self._render_thread.shutdown(wait=False)
        closing = loop.run_in_executor(self._thread, self.exporter.close)
        await asyncio.wait_for(closing, _CLOSE_SECONDS)
        self._thread.shutdown(wait=False)


class Site:
    """What there is to ask for.

    Args:
        scrapes: where snapshots come from.
        metrics_path: where /metrics is (``--web.telemetry-path``).
    """

    def __init__(self, scrapes: Scrapes, metrics_path: str) -> None:
        self._scrapes = scrapes
        self._metrics_path = metrics_path
        self.closing = False

    async def answer(self, request: Request) -> Answer:
        """Answer a request."""
        path = re.sub("^https?://[^/]*", "", request.target).partition("?")[0]  # or absolute-form
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"only GET and HEAD\n", headers=(("Allow", "GET, HEAD"),))
        if path == self._metrics_path:
            return await self._metrics(request.headers)
        if path == "/-/healthy":
            if self._scrapes.hanging:
                return Answer(503, b"the scanner hangs\n")
            return Answer(200, b"healthy\n")
        if path == "/-/ready":
            return await self._ready()
        if path == "/":
            return Answer(200, self._landing_page(), "text/html; charset=utf-8")
        return Answer(404, b"not found\n")

    async def _metrics(self, headers: Mapping[str, str]) -> Answer:
        form = negotiate(headers.get("accept", ""))
        gzip = accepts_gzip(headers.get("accept-encoding", ""))
        limit = time_limit_seconds(headers.get("x-prometheus-scrape-timeout-seconds", ""))
        try:
            view = await self._scrapes.fresh(limit)
            body = await self._scrapes.page(view, form, gzip)
        except UnavailableError as exc:
            return Answer(503, f"{exc}\n".encode())
        extra: tuple[tuple[str, str], ...] = (("Vary", "Accept, Accept-Encoding"),)
        if gzip:
            extra += (("Content-Encoding", "gzip"),)
        return Answer(200, body, form.value, extra)

    async def _ready(self) -> Answer:
        if self.closing:
            return Answer(503, b"shutting down\n")
        if self._scrapes.view is None:
            try:
                await self._scrapes.fresh(1.0)
            except UnavailableError as exc:
                return Answer(503, f"{exc}\n".encode())
        return Answer(200, b"ready\n")

    def _landing_page(self) -> bytes:
        import html  # its table of entities is a quarter of a megabyte

        path = html.escape(self._metrics_path, quote=True)
        return (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
            "<title>cgexporter</title></head><body><h1>cgexporter</h1>"
            f"<p>Version {__version__}. How this host enforces and accounts the resources of "
            f"its containers.</p><ul><li><a href='{path}'>Metrics</a></li>"
            "<li><a href='/-/healthy'>Healthy</a></li><li><a href='/-/ready'>Ready</a></li>"
            "</ul></body></html>\n"
        ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """How to serve; flags fill it.

    Attributes:
        addresses: host and port of each socket to listen on; "" is every address.
        systemd_socket: listen on what systemd hands over instead.
        metrics_path: where the metrics are.
        limits: bounds on clients.
        config_file: the web configuration, or "".
    """

    addresses: Sequence[tuple[str, int]]
    systemd_socket: bool = False
    metrics_path: str = "/metrics"
    limits: Limits = field(default_factory=Limits)
    config_file: str = ""


def collect_seldom() -> None:
    """Look for cycles seldom.

    What is kept between scans is many objects and no cycles: a full collection of them takes
    tens of milliseconds, in which nothing else runs. See docs/PERFORMANCE.md. Connections are
    cycles: `web.connection` collects what is left of them.
    """
    gc.set_threshold(50_000, 50, 100)


def keep_memory_small() -> None:
    """Let threads share one heap, and give large buffers back when they are let go.

    glibc gives each thread a heap of its own, and once a page was freed keeps room for others in
    it: two megabytes with 250 containers. Source: mallopt(3), which others than glibc lack.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def _log_failure(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (exc := done.exception()) is not None:
        log.error("catching up failed", exc_info=exc)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def serve(
    exporter: Exporter, web: Web, started: Callable[[list[tuple[str, int]]], None]
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        exporter: the host.
        web: how to serve.
        started: called with the addresses once connections are accepted.

    Raises:
        ConfigError: the web configuration cannot be used.
        OSError: an address cannot be listened on.
        TimeoutError: a scan hangs and keeps its thread.
    """
    collect_seldom()
    keep_memory_small()
    status = WebStatus()
    live = None
    if web.config_file:
        from cgexporter.web.live import Live  # half a megabyte of what OpenSSL hashes with

        live = Live(web.config_file, status)
    scrapes = Scrapes(exporter, status)
    site = Site(scrapes, web.metrics_path)
    connections = Connections(site.answer, web.limits, live, status)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(scrapes.close)
        exporter.watch()
        if live:
            stack.callback(live.close)
        stack.push_async_callback(connections.close)
        listeners = handed_over() if web.systemd_socket else await listen(web.addresses)
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
        for listener in listeners:
            stack.callback(listener.close)
            accepting = asyncio.create_task(connections.accept(listener))
            stack.push_async_callback(_cancelled, accepting)
            tasks.append(accepting)
        started([listener.getsockname()[:2] for listener in listeners])
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # who cannot accept any more does not look as if it served
        site.closing = True
        log.info("stopping")
