"""cgexporter as others run it: a process of its own, with arguments and exit status."""

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.integration.support import PATIENCE_SECONDS, eventually

COMMAND = (sys.executable, "-m", "cgexporter")


def cgexporter(*arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run cgexporter to its end. `prefix` is a command that runs it, such as setpriv."""
    return subprocess.run(
        [*prefix, *COMMAND, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def output(*arguments: str, prefix: Sequence[str] = ()) -> str:
    """What cgexporter prints when all goes well."""
    done = cgexporter(*arguments, prefix=prefix)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class Response(NamedTuple):
    """One answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()


class Connection:
    """One keep-alive connection to a server."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self._http.connect()

    def send(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a request."""
        self._http.request(method, path, headers=headers or {})

    def receive(self) -> Response:
        """Receive its answer."""
        answer = self._http.getresponse()
        body = answer.read()
        return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, body)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Send a request and receive its answer."""
        self.send("GET", path, headers)
        return self.receive()

    def close(self) -> None:
        """Hang up."""
        self._http.close()


class Server:
    """A cgexporter that serves on a free port of 127.0.0.1.

    Args:
        log: file for its stderr.
        arguments: more flags.
    """

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                [*COMMAND, "--web.listen-address", "127.0.0.1:0", *arguments], stderr=stderr
            )
        self.port = 0

    def wait_until_listening(self) -> None:
        """Wait for the log line that tells the port."""
        line = re.compile(
            r'^time=\S+ level=info source=\S+ msg="listening on 127\.0\.0\.1:(\d+)"$', re.MULTILINE
        )

        def port() -> int | None:
            assert self.process.poll() is None, self.log
            match = line.search(self.log)
            return int(match[1]) if match else None

        self.port = eventually(port, "the server to listen")

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self._log.read_text()

    @property
    def descriptors(self) -> list[str]:
        """What its descriptors are open on, by /proc/PID/fd."""
        directory = f"/proc/{self.process.pid}/fd"
        found = []
        for fd in os.listdir(directory):
            with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                found.append(os.readlink(f"{directory}/{fd}"))
        return found

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Send one request over a connection of its own."""
        connection = Connection(self.port)
        try:
            return connection.get(path, headers)
        finally:
            connection.close()

    def exchange(self, data: bytes) -> bytes:
        """Send raw bytes, and receive until the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS) as client:
            client.sendall(data)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        return answer

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def assert_stops(self) -> None:
        """It ends with success, and nothing was logged that looks like a bug."""
        self.terminate()
        assert self.process.wait(PATIENCE_SECONDS) == 0, self.log
        assert "Traceback" not in self.log

    def kill(self) -> None:
        """End it in any case."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
