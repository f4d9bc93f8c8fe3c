"""Data flows one way: read → parse → model → correlate → publish."""

import ast
from pathlib import Path

import pytest

# A module imports from its own layer's package and from layers above it in this list.
LAYERS = (
    ("document", "durations"),
    ("web",),
    ("seldom",),
    ("aio", "inotify", "host", "descriptors"),
    ("kernel",),
    ("walker",),
    ("files",),
    ("parse",),
    ("rtnetlink",),
    ("model",),
    ("resources",),
    ("hierarchies",),
    ("sources",),
    ("machine",),
    ("scan",),
    ("correlate",),
    ("findings",),
    ("metric",),
    ("metrics_network", "metrics_optional"),
    ("names",),
    ("metrics",),
    ("publish",),
    ("cadvisor",),
    ("families",),
    ("sharing",),
    ("exporter",),
    ("own", "local", "logs", "recording"),
    ("server", "textfile", "name_flags", "web_flags", "flags", "config_file"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
ORDER = {name: place for place, names in enumerate(LAYERS) for name in names}
PACKAGE = Path(__file__).resolve().parents[2] / "cgexporter"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imported(module: Path) -> set[str]:
    """Names of cgexporter's modules that a module imports, at its top or in a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "cgexporter":
                names.update(alias.name for alias in node.names)
            elif node.module.startswith("cgexporter."):
                names.add(node.module.removeprefix("cgexporter."))
        elif isinstance(node, ast.Import):
            names.update(
                alias.name.removeprefix("cgexporter.")
                for alias in node.names
                if alias.name.startswith("cgexporter.")
            )
    return names - {"__version__"}


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_back_along_the_arrow(module: Path) -> None:
    """No module knows of one that comes after it."""
    mine = module.relative_to(PACKAGE).with_suffix("").parts[0]
    for name in imported(module):
        theirs = name.split(".")[0]
        assert theirs == mine or ORDER[theirs] < ORDER[mine], f"{mine} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_one_door_to_kernel_files(module: Path) -> None:
    """Three modules open kernel files, names/door.py those of runtimes, nothing else any."""
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    }
    opening = calls & {"open", "pread", "scandir", "readlink", "read_text", "read_bytes"}
    allowed = {
        "kernel.py": opening,
        "walker.py": opening,
        "files.py": opening,
        "names/door.py": opening,
        "document.py": {"open"},  # configuration files
        "textfile.py": {"open"},  # the directory that it writes in
        "names/http.py": {"open"},  # the token of a service account
        "commands/explain.py": {"open"},  # a manifest
        "commands/output.py": {"open"},  # /dev/null for a broken pipe
        "commands/record.py": {"open"},  # the recording to write
        "recording/archive.py": {"open"},
        "recording/host.py": {"open"},  # the recording to read
        "recording/recorder.py": opening,  # stands in for `host.os`
    }
    assert opening <= allowed.get(str(module.relative_to(PACKAGE)), set())
