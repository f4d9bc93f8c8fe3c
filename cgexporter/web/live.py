"""The web configuration in force: read again once one of its files has changed.

It is looked at whenever somebody connects or asks, which costs a stat() of each file. What cannot
be used leaves the old one in force.
"""

import asyncio
import hashlib
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgexporter.document import ConfigError, escaped, read
from cgexporter.web.auth import Authenticator
from cgexporter.web.config import WebConfig, parse
from cgexporter.web.limits import Bucket
from cgexporter.web.status import WebStatus

if TYPE_CHECKING:  # imported where TLS is asked for
    import ssl

log = logging.getLogger(__name__)

# A file that changed less than this before it was read may change again without its times
# telling: the kernel's clock for them has steps of up to 10 ms.
_SETTLED_SECONDS = 0.05

Stamp = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Active:
    """A configuration that was loaded whole.

    Attributes:
        demands: what a client has to show for its connection; who showed it need not again.
        digest: of all its files.
    """

    config: WebConfig
    context: "ssl.SSLContext | None"
    limiter: Bucket | None
    demands: bytes
    digest: bytes
    warnings: tuple[str, ...] = ()


def load(path: str) -> Active:
    """Load a web configuration, certificates included.

    Raises:
        ConfigError: something in it cannot be used.
    """
    content = read(path)
    config = parse(path, content)
    try:
        return _complete(path, content, config)
    except ConfigError as exc:
        exc.files = _files(config)
        raise
    except OSError as exc:  # gone between two looks at it
        raise ConfigError(path, str(exc)) from None


def _files(config: WebConfig) -> tuple[str, ...]:
    return config.tls.files if config.tls else ()


def _complete(path: str, content: bytes, config: WebConfig) -> Active:
    seen, demands = hashlib.sha256(content), hashlib.sha256()
    warnings = [f"{escaped(path)}: {remark}" for remark in config.remarks]
    context = None
    if config.tls is not None:
        from cgexporter.web.tls import context as make
        from cgexporter.web.tls import exposed_key

        tls = config.tls
        read_ = {file: read(file) for file in tls.files}
        for data in read_.values():
            seen.update(hashlib.sha256(data).digest())
        authority = read_.get(tls.client_ca_file, tls.client_ca.encode())
        for part in (tls.client_auth, *sorted(tls.allowed_sans), authority.decode("latin-1")):
            demands.update(f"{len(part)} {part}".encode())
        context = make(path, config.tls)
        if exposed := exposed_key(config.tls):
            warnings.append(f"{escaped(exposed)}: every user of this host may read this key")
    if config.users:
        try:
            import bcrypt  # noqa: F401 - now, not when the first client waits
        except ImportError as exc:
            raise ConfigError(path, f"basic_auth_users needs bcrypt: {exc}") from None
        if config.tls is None:
            warnings.append(
                f"{escaped(path)}: passwords cross the network in the clear without "
                "tls_server_config"
            )
    limiter = Bucket(config.rate.interval, config.rate.burst) if config.rate else None
    return Active(config, context, limiter, demands.digest(), seen.digest(), tuple(warnings))


class Live:
    """Keeps a configuration up to date.

    Args:
        path: the file.
        status: where reloads are counted.

    Attributes:
        active: what is in force, as it was last looked at.

    Raises:
        ConfigError: it cannot be used; there is no older one to keep.
    """

    def __init__(self, path: str, status: WebStatus) -> None:
        self._path = path
        self._status = status
        self.authenticator = Authenticator()
        before = self._stamp(()), time.time_ns()
        self.active = load(path)
        self._files = _files(self.active.config)
        self._seen = self._settled(*before)
        self._loading: asyncio.Task[None] | None = None
        self._said = ""
        self._took(self.active)

    async def current(self) -> Active:
        """What is in force now; loads it where a file has changed."""
        if self._seen is None or self._stamp(self._files) != self._seen:
            if self._loading is None:
                self._loading = asyncio.create_task(self._reload())
            await asyncio.shield(self._loading)
        return self.active

    async def _reload(self) -> None:
        before = self._stamp(()), time.time_ns()
        try:
            found = await asyncio.get_running_loop().run_in_executor(None, load, self._path)
        except ConfigError as exc:
            # The files that it names are looked at too: what it lacks may come.
            self._files = tuple({*exc.files, *_files(self.active.config)})
            self._status.reloaded = False
            if str(exc) != self._said:
                self._said = str(exc)
                log.error("the web configuration cannot be used, the old one stays: %s", exc)  # noqa: TRY400
        else:
            self._files = _files(found.config)
            if found.digest != self.active.digest:
                self.active = found
                log.info("web configuration loaded again: %s", escaped(self._path))
                self._took(found)
            else:
                self._status.reloaded, self._said = True, ""
        finally:
            self._seen = self._settled(*before)
            self._loading = None

    def _took(self, active: Active) -> None:
        self._said = ""
        self._status.reloaded = True
        self._status.reload_time = time.time()
        for warning in active.warnings:
            log.warning("%s", warning)

    def _stamp(self, files: tuple[str, ...]) -> Stamp:
        """What changes when one of these files or the configuration itself does."""
        return tuple(map(_file_stamp, (self._path, *files)))

    def _settled(self, before: Stamp, began: int) -> Stamp | None:
        """The stamp of what was read since then; None: it may have changed, read it once more."""
        after = self._stamp(self._files)
        changed = max(max(stamp[:2]) for stamp in after)
        is_fresh = changed > began - _SETTLED_SECONDS * 1e9
        return None if is_fresh or after[0] != before[0] else after

    def close(self) -> None:
        """Check no more passwords."""
        self.authenticator.close()


def _file_stamp(file: str) -> tuple[int, ...]:
    try:
        found = os.stat(file)
    except OSError as exc:
        return (0, 0, -(exc.errno or 1))
    return (found.st_ctime_ns, found.st_mtime_ns, found.st_dev, found.st_ino, found.st_size)
