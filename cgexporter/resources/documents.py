"""YAML → plain objects, with bounds: what is said there is text, and a bomb is refused.

Objects are made from the parser's events, without recursion. Scalars stay text, so that a
quantity is read as it was written and not as YAML 1.1 takes it (``1:30`` is 90 there).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cgexporter.resources.settings import ExplainError

# More than any manifest has; the API server takes 3 MiB at once.
MAX_BYTES = 4 * 2**20
_MAX_NODES = 200_000
_MAX_DEPTH = 64
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE = "<<"

Node = str | None | list["Node"] | dict[str, "Node"]


@dataclass(slots=True)
class _Open:
    """A list or mapping that is not through yet."""

    node: list[Node] | dict[str, Node]
    anchor: str | None
    size: int = 1
    key: str | None = None  # of a mapping, where its value comes next
    keys: set[str] = field(default_factory=set)
    merged: list[Node] = field(default_factory=list)


class _Builder:
    """Makes one document's object."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._known: dict[str, tuple[Node, int]] = {}
        self._pending: set[str] = set()
        self.root: Node = None

    def begin(self, node: list[Node] | dict[str, Node], anchor: str | None) -> None:
        """A list or mapping begins."""
        if len(self._open) >= _MAX_DEPTH:
            raise ExplainError(f"nested more than {_MAX_DEPTH} deep")
        if self._open and isinstance(self._open[-1].node, dict) and self._open[-1].key is None:
            raise ExplainError("a key is no text")
        if anchor:
            self._pending.add(anchor)
        self._open.append(_Open(node, anchor))

    def end(self) -> None:
        """The innermost list or mapping is through."""
        done = self._open.pop()
        if isinstance(done.node, dict):
            for source in done.merged:
                for key, value in source.items() if isinstance(source, dict) else ():
                    done.node.setdefault(key, value)
        if done.anchor:
            self._pending.discard(done.anchor)
        self._add(done.node, done.size, done.anchor)

    def scalar(self, text: str, *, plain: bool, anchor: str | None) -> None:
        """A scalar; a plain one may be null."""
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.node, dict) and top.key is None:
            if text in top.keys:
                raise ExplainError(f"the key {text[:80]!r} is there twice")
            top.keys.add(text)
            top.key = text
            return
        self._add(None if plain and text in _NULL else text, 1, anchor)

    def alias(self, name: str) -> None:
        """What an anchor named; it counts as often as it is named."""
        if name in self._pending:
            raise ExplainError(f"*{name[:80]} is inside itself")
        if name not in self._known:
            raise ExplainError(f"*{name[:80]} is not known")
        node, size = self._known[name]
        self._add(node, size, None)

    def _add(self, node: Node, size: int, anchor: str | None) -> None:
        if anchor:
            self._known[anchor] = (node, size)
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        top.size += size
        if top.size > _MAX_NODES:
            raise ExplainError(f"more than {_MAX_NODES} values, with aliases written out")
        if isinstance(top.node, list):
            top.node.append(node)
            return
        key, top.key = top.key, None
        if key is None:
            raise ExplainError("a key is no text")
        if key == _MERGE:
            top.merged += node if isinstance(node, list) else [node]
        else:
            top.node[key] = node


def read(data: bytes) -> Sequence[Node]:
    """Read the documents of a YAML (or JSON) file.

    Raises:
        ExplainError: it is no YAML, or more than any manifest needs.
    """
    import yaml

    if len(data) > MAX_BYTES:
        raise ExplainError(f"more than {MAX_BYTES // 2**20} MiB")
    try:
        return list(_documents(data.decode()))
    except UnicodeDecodeError as exc:
        raise ExplainError(f"is not UTF-8 at byte {exc.start}") from None
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise ExplainError(f"{line}{exc.problem or exc.context or 'no YAML'}") from None
    except yaml.YAMLError as exc:
        raise ExplainError(" ".join(str(exc).split())) from None


def _documents(text: str) -> Iterator[Node]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser where it is built in
    builder = _Builder()
    line = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark else line
            match event:
                case yaml.DocumentStartEvent():
                    builder = _Builder()
                case yaml.DocumentEndEvent():
                    yield builder.root
                case yaml.MappingStartEvent():
                    builder.begin({}, event.anchor)
                case yaml.SequenceStartEvent():
                    builder.begin([], event.anchor)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    builder.end()
                case yaml.ScalarEvent():
                    plain = not event.style and event.implicit[0]
                    builder.scalar(event.value, plain=plain, anchor=event.anchor)
                case yaml.AliasEvent():
                    builder.alias(event.anchor or "")
    except ExplainError as exc:
        raise ExplainError(f"line {line}: {exc}") from None
