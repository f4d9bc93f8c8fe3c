"""Build what the laboratory needs into the cache folder, and say what is being done.

python3 -m tests.lab.build
"""

import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from tests.lab import exporter, image, machine, observed, release, states
from tests.tools import programs
from tests.tools.cache import ROOT

TOOLS = {**image.TOOLS, **machine.TOOLS}
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to build; `needs` are names of the steps that come before."""

    name: str
    is_there: Callable[[], bool]
    make: Callable[[], object]
    needs: tuple[str, ...] = ()


def steps() -> list[Step]:
    """All that there is to build. Of those that may begin the first does."""
    made = [Step("image", image.image().home.exists, image.build)]
    before: tuple[str, ...] = ()
    # One after the other, for they have packages in common; a node's first, for they have to wait.
    for name in sorted(programs.PROGRAMS, key=lambda one: one not in states.NODE_PROGRAMS):
        path = programs.path(name)
        made.append(Step(name, path.exists, partial(programs.build, name), before))
        before = (name,)
    needs = ("image", *programs.PROGRAMS)
    made.append(Step("state cluster", lambda: release.saved().exists(), release.build, needs))
    for name in ("bare", "kubelet", "sick", "v2", "mixed-pod", "hybrid", "v1"):
        state = states.STATES[name]
        needs = (f"state {state.base}" if state.base else "image",)
        needs += states.NODE_PROGRAMS if state.has_kubelet else ()
        make = partial(states.build, state)
        made.append(Step(f"state {name}", state.home.exists, make, needs))
        made += [
            Step(
                f"what the test of {one.name} compares with",
                one.file.exists,
                partial(observed.make, one),
                (f"state {name}",),
            )
            for one in observed.OBSERVATIONS
            if one.state == name
        ]
    return made


class Report:
    """Lines with the time since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one."""
        print(f"[{time.monotonic() - self._started:4.0f} s] {text}", flush=True)


def build(wanted: list[Step], report: Report) -> None:
    """Build what is missing, two things at a time."""
    done: set[str] = set()
    running: dict[Future[object], Step] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while wanted or running:
            ready = [step for step in wanted if done.issuperset(step.needs)]
            if ready and len(running) < _AT_ONCE:
                step = ready[0]
                wanted.remove(step)
                if step.is_there():
                    done.add(step.name)
                else:
                    report(f"{step.name} …")
                    running[pool.submit(step.make)] = step
                continue
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                step = running.pop(future)
                report(f"{step.name}: {'failed' if future.exception() else 'done'}")
                future.result()
                done.add(step.name)


def main() -> None:
    """Build what is missing."""
    if absent := [program for program in (*TOOLS, "go") if shutil.which(program) is None]:
        packages = ", ".join(sorted({TOOLS.get(program, "Go 1.25 or later") for program in absent}))
        sys.exit(f"not installed: {', '.join(absent)} ({packages})")
    report = Report()
    build(steps(), report)
    exporter.disk(image.image().python)
    report(f"all is in {ROOT}")


if __name__ == "__main__":
    main()
