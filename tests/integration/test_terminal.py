"""The local views in a real terminal: wide, narrow, resized, without colour or UTF-8."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.support import program
from tests.tools.terminal import recording, terminal

_FILTER = ("--filter", "cgroup=/shop*")


@pytest.fixture(scope="module")
def tmux() -> str:
    """The program."""
    return program("tmux", "tmux")


@pytest.fixture(scope="module")
def shop(repository: Path) -> str:
    """A recording to look at."""
    return recording(repository)


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_once_fits(columns: int, tmux: str, shop: str) -> None:
    """No line of the table is broken, and what says who is slow is there from 80 columns on."""
    with terminal(tmux, columns, 30) as window:
        window.run("--once", "--from", shop, "--interval", "1s", *_FILTER)
        lines = window.settled("status 0").split("\n")
        head = lines[0].split()
        assert head[0] == "CONTAINER"
        assert [line.split()[0] for line in lines[1:7]] == [
            "shop-api",
            "shop-batch",
            "shop-db",
            "shop-leak",
            "shop-sidecar",
            "shop-web",
        ]
        assert lines[7] == "status 0"
        wanted = {40: {"CORES"}, 80: {"CORES", "LIMIT", "PERIODS", "MEMORY", "USED", "OOM"}}
        wanted |= {120: wanted[80] | {"THROTTLED/s", "TASKS"}}
        assert wanted.get(columns, wanted[120] | {"RUNTIME", "POD", "READ/s"}) <= set(head)


def test_columns_are_aligned(tmux: str, shop: str) -> None:
    """Each number ends where the head of its column ends."""
    with terminal(tmux, 120, 40) as window:
        window.run("--once", "--from", shop, *_FILTER)
        head, *rows = window.settled("status 0").split("\n")[:7]
        ends = {match.end() for match in re.finditer(r"\S+( \S+)*", head)}
        for row in rows:
            numbers = [match.end() for match in re.finditer(r"\S+", row)][-8:]
            assert set(numbers) <= ends


def test_colour(tmux: str, shop: str) -> None:
    """A terminal gets colour where something is wrong, and none with NO_COLOR."""
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with terminal(tmux, 120, 40, environment) as window:
            window.run("--once", "--from", shop, *_FILTER)
            window.settled("status 0")
            assert ("\x1b[31m" in (text := window.screen(colours=True))) is coloured or (
                ("\x1b[1m\x1b[31m" in text) is coloured
            )


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_locale(locale: str, tmux: str, shop: str) -> None:
    """In the C locale there is nothing but ASCII; the tree is drawn with lines elsewhere."""
    environment = {"LANG": "", "LC_ALL": locale}
    with terminal(tmux, 100, 30, environment) as window:
        window.run("--once", "--from", shop, "--format", "tree", *_FILTER)
        assert window.settled("status 0").isascii() is (locale == "C")
        window.run("top", "--from", shop)
        assert window.settled("END OF THE RECORDING").isascii()
        window.press("q")


def test_top(tmux: str, shop: str) -> None:
    """Keys sort, filter, scroll and pause; a new size is drawn at once; q leaves no trace."""
    with terminal(tmux, 80, 8) as window:
        window.run("top", "--from", shop, "--interval", "200ms")
        first = window.settled("END OF THE RECORDING").split("\n")
        assert len(first) == 8
        assert first[2].split()[:3] == ["CONTAINER", "CORES", "LIMIT"]
        assert first[3].split()[0] == "shop-batch"
        assert first[-1].startswith("q quit")
        window.press("s", "s")
        assert window.wait_for("by throttled").split("\n")[3].split()[0] == "shop-api"
        window.press("Down", "Down")
        assert "rows 3 to 6 of 6" in window.wait_for("rows 3")
        window.press("/")
        window.type("name=shop-web")
        window.wait_for("filter: name=shop-web_")
        window.press("Enter")
        found = window.wait_for("1 of 6 match name=shop-web").split("\n")
        assert found[3].split()[0] == "shop-web"
        assert not found[4]
        window.press("/")
        window.type("color=red")
        window.press("Enter")
        window.wait_for("none of the fields")
        window.press("c")
        window.resize(200, 30)
        wide = window.settled("THROTTLED/s").split("\n")
        assert len(wide) == 30
        assert "RUNTIME" in wide[2]
        window.resize(30, 8)
        small = window.settled("q quit").split("\n")
        assert len(small) == 8
        assert max(map(len, small)) <= 30
        window.press("q")
        assert window.settled("status 0").split("\n")[-2:] == ["status 0", "$"]


def test_top_live(tmux: str) -> None:
    """It goes on by itself; paused it does not; Ctrl-C ends it and the terminal is as before."""
    with terminal(tmux, 100, 20) as window:
        window.run("top", "--interval", "300ms")
        first = window.wait_for("every 0.3s").split("\n")[0]
        deadline = time.monotonic() + 20
        while window.screen().split("\n")[0] == first:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        window.press("p")
        paused = window.settled("PAUSED")
        time.sleep(1.5)
        assert window.screen() == paused
        window.press("C-c")
        window.wait_for("status 0")
        window.type("echo seen")
        window.wait_for("echo seen")


def test_inspect(tmux: str, shop: str) -> None:
    """A page fits into 80 columns, and loses nothing of a path."""
    with terminal(tmux, 80, 60) as window:
        window.run("inspect", "shop-api", "--from", shop)
        lines = window.settled("status 0").split("\n")
        assert max(map(len, lines)) <= 80
        text = " ".join(" ".join(lines).split())
        assert "set by /sys/fs/cgroup/cpu/shop/api/cpu.cfs_quota_us" in text
        assert "root is uid 0 on the host" in text


def test_no_terminal(shop: str) -> None:
    """`top` in a pipe says what to use there, and ends with 1."""
    done = subprocess.run(
        [sys.executable, "-m", "cgexporter", "top", "--from", shop],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TERM": "dumb"},
    )
    assert done.returncode == 1
    assert done.stderr == (
        "cgexporter: top needs a terminal; in a pipe use cgexporter --once --interval 2s\n"
    )
