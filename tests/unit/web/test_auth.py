"""Passwords: right ones, wrong ones, guesses, and how long each takes."""

import asyncio
import base64
import time
from collections.abc import Iterator

import bcrypt
import pytest

from cgexporter.web.auth import Authenticator
from cgexporter.web.limits import TooManyGuessesError


def hashed(password: str, cost: int = 4) -> str:
    """A hash in the form that htpasswd prints."""
    made = bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
    return made.replace("$2b$", "$2y$")


def basic(name: str, password: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def authenticator() -> Iterator[Authenticator]:
    """One with no memory yet."""
    made = Authenticator()
    yield made
    made.close()


USERS = {"alice": hashed("wonder:land"), "bob": hashed("x" * 72)}


@pytest.mark.parametrize(
    ("header", "right"),
    [
        (basic("alice", "wonder:land"), True),
        (basic("alice", "wonder:land").replace("Basic", "bAsIc"), True),
        (basic("bob", "x" * 72), True),
        (basic("bob", "x" * 72 + "more"), True),  # bcrypt reads 72 bytes, as in the toolkit
        (basic("bob", "x" * 71), False),
        (basic("alice", "wonder:lan"), False),
        (basic("alice", "wonder:land\0"), False),
        (basic("alice", ""), False),
        (basic("Alice", "wonder:land"), False),
        (basic("", ""), False),
        ("Basic", False),
        ("Basic !!!", False),
        ("Basic " + base64.b64encode(b"no colon").decode(), False),
        ("Basic " + base64.b64encode(b"\xff:x").decode(), False),
        ("Bearer abc", False),
        ("", False),
    ],
)
def test_headers(authenticator: Authenticator, header: str, right: bool) -> None:
    """Who has name and password is let in, and nobody else, the second time too."""
    for _ in range(2):
        assert asyncio.run(authenticator.is_right(USERS, header, "c")) is right


def test_a_changed_hash_is_a_changed_password(authenticator: Authenticator) -> None:
    """What was right under an old hash is not remembered for a new one."""
    header = basic("alice", "old")
    assert asyncio.run(authenticator.is_right({"alice": hashed("old")}, header, "c"))
    assert not asyncio.run(authenticator.is_right({"alice": hashed("new")}, header, "c"))
    assert not asyncio.run(authenticator.is_right({"bob": hashed("old")}, header, "c"))


def test_guesses_are_bounded(authenticator: Authenticator) -> None:
    """An address may guess ten times at once; another, and who is known, are not in its way."""

    async def guess() -> int:
        assert await authenticator.is_right(USERS, basic("alice", "wonder:land"), "bad")
        for count in range(100):
            try:
                assert not await authenticator.is_right(USERS, basic("alice", f"{count}"), "bad")
            except TooManyGuessesError:
                assert await authenticator.is_right(USERS, basic("alice", "wonder:land"), "bad")
                assert await authenticator.is_right(USERS, basic("bob", "x" * 72), "good")
                return count
        return 100

    assert 10 <= asyncio.run(guess()) <= 15


def test_checks_in_line_are_bounded(authenticator: Authenticator) -> None:
    """An address that asks for many checks at once gets few of them computed."""

    async def crowd() -> list[object]:
        asked = (authenticator.is_right(USERS, basic("alice", str(n)), "bad") for n in range(50))
        return await asyncio.gather(*asked, return_exceptions=True)

    results = asyncio.run(crowd())
    assert sum(isinstance(result, TooManyGuessesError) for result in results) >= 40
    assert True not in results


def test_an_unknown_name_takes_as_long(authenticator: Authenticator) -> None:
    """Names cannot be found out by the clock: an unknown one costs a whole bcrypt too."""
    costly = {"alice": hashed("right", 8)}
    times: dict[str, list[float]] = {"alice": [], "nobody": []}

    async def measure() -> None:
        for count in range(9):
            for name, took in times.items():
                before = time.perf_counter()
                await authenticator.is_right(costly, basic(name, "no"), f"{name}{count}")
                took.append(time.perf_counter() - before)

    asyncio.run(measure())
    known, unknown = (min(took) for took in times.values())
    assert 0.5 < unknown / known < 2


def test_the_loop_goes_on_meanwhile(authenticator: Authenticator) -> None:
    """A check that takes long holds nobody up but who asked for it."""
    users = {"a": hashed("x", 10)}

    async def late() -> tuple[float, float]:
        began = time.perf_counter()
        checking = asyncio.create_task(authenticator.is_right(users, basic("a", "x"), "c"))
        await asyncio.sleep(0)
        slept = time.perf_counter()
        assert not checking.done()
        assert await checking
        return slept - began, time.perf_counter() - began

    meanwhile, whole = asyncio.run(late())
    assert meanwhile < whole / 2
