"""HTTP basic authentication against bcrypt hashes. Source: RFC 7617.

A check takes tens of milliseconds by design, so it runs in one thread of its own, and a password
that was right once is known by a keyed digest. What a client may make us compute is bounded.
"""

import asyncio
import binascii
import hmac
import os
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from cgexporter.web.limits import Buckets, TooManyGuessesError

# Passwords that were right: a few for each user, for they are changed seldom.
_REMEMBERED = 128
# bcrypt reads no more; the toolkit's own implementation ignores the rest as well.
_PASSWORD_BYTES = 72
# Wrong guesses: ten at once, then one a second, for each address.
_GUESSES = 10
_GUESS_SECONDS = 1.0
_WAITING = 64
_WAITING_EACH = 4


class Authenticator:
    """Tells who has the right password."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._guesses = Buckets(_GUESS_SECONDS, _GUESSES)
        self._waiting: Counter[str] = Counter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")

    async def is_right(self, users: Mapping[str, str], header: str, client: str) -> bool:
        """Whether an Authorization header has the name and password of a user.

        Args:
            users: names and bcrypt hashes; at least one.
            header: the field's value, "" where there is none.
            client: its address.

        Raises:
            TooManyGuessesError: this client may have no more checks for now.
        """
        credentials = _credentials(header)
        if credentials is None:
            return False
        name, password = credentials
        known = users.get(name)
        # An unknown name costs what a known one costs: the hash of one of the users, always the
        # same for a name, is computed against and not believed.
        against = known if known is not None else self._other(users, name)
        digest = self._digest(name.encode(), against.encode(), password)
        if digest in self._right:
            self._right.move_to_end(digest)
            return True
        guesses = self._guesses.of(client)
        if (
            guesses.is_empty
            or self._waiting[client] >= _WAITING_EACH
            or self._waiting.total() >= _WAITING
        ):
            raise TooManyGuessesError
        self._waiting[client] += 1
        try:
            loop = asyncio.get_running_loop()
            matches = await loop.run_in_executor(self._thread, _check, password, against)
        finally:
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]
        if not matches or known is None:
            guesses.take()
            return False
        self._right[digest] = None
        if len(self._right) > _REMEMBERED:
            self._right.popitem(last=False)
        return True

    def _digest(self, *parts: bytes) -> bytes:
        mac = hmac.new(self._secret, digestmod="sha256")
        for part in parts:
            mac.update(len(part).to_bytes(4, "big") + part)
        return mac.digest()

    def _other(self, users: Mapping[str, str], name: str) -> str:
        hashes = list(users.values())
        return hashes[int.from_bytes(self._digest(name.encode())[:8], "big") % len(hashes)]

    def close(self) -> None:
        """Compute no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _credentials(header: str) -> tuple[str, bytes] | None:
    """Name and password of an Authorization header; None where it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = binascii.a2b_base64(encoded.strip(), strict_mode=True).partition(
            b":"
        )
        return (name.decode(), password) if colon else None
    except ValueError:
        return None


def _check(password: bytes, against: str) -> bool:
    """Compute bcrypt; it lets other threads run meanwhile."""
    import bcrypt

    if b"\0" in password:  # C strings end there: such a password would be as good as its start
        return False
    return bcrypt.checkpw(password[:_PASSWORD_BYTES], against.encode())
