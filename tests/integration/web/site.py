"""A server with TLS and passwords, for tests."""

import subprocess
from pathlib import Path

import bcrypt

from tests.integration.support import PATIENCE_SECONDS, program
from tests.tools.certificates import Authority


class Site:
    """A directory with web.yml, certificates and what clients need.

    Args:
        directory: where to make it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority(directory)
        self.authority.issue("server")
        self.authority.issue("client", "DNS:prometheus.example")
        self.authority.issue("stranger", "DNS:stranger.example")
        Authority(directory, "other").issue("forged", "DNS:prometheus.example")
        self.file = directory / "web.yml"
        self.flag = f"--web.config.file={self.file}"

    def write(self, tls: str = "", more: str = "") -> None:
        """Write the configuration, in one step as Kubernetes and editors do."""
        new = self.directory / "web.yml.new"
        new.write_text(
            f"tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{tls}{more}"
        )
        new.rename(self.file)

    def curl(self, port: int, *words: str, path: str = "/metrics") -> tuple[int, str, int]:
        """Ask with curl.

        Returns:
            The HTTP status (0 where there is no answer), the body, and curl's exit status.
        """
        done = subprocess.run(
            [
                *(program("curl", "curl"), "--silent", "--max-time", str(int(PATIENCE_SECONDS))),
                *("--cacert", str(self.authority.certificate), "--write-out", "\n%{http_code}"),
                *(*words, f"https://localhost:{port}{path}"),
            ],
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body, done.returncode


def users(**passwords: str) -> str:
    """The section basic_auth_users."""
    lines = ["basic_auth_users:\n"]
    for name, password in passwords.items():
        found = bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode()
        lines.append(f"  {name}: {found.replace('$2b$', '$2y$')}\n")
    return "".join(lines)
