"""Finds the cgroups of one hierarchy, again and again."""

from collections.abc import Callable, Container, Iterator, Mapping
from collections.abc import Set as AbstractSet

from cgexporter import host
from cgexporter.inotify import Notices, Watch
from cgexporter.kernel import VANISHED

# In how many scans what seldom changes is looked at again, however long it has been there.
EVERY = 64
# Inodes of directories that are made one after the other have the same distance. Multiples of the
# golden ratio lie evenly whatever it is (Knuth, The Art of Computer Programming, 6.4).
_GOLDEN, _GOLDEN_BITS = 0x9E37_79B1, 26


def turn_of(salt: int) -> int:
    """A number that differs for whatever differs, and lies evenly: see `is_due`."""
    return (salt * _GOLDEN >> _GOLDEN_BITS) % EVERY


def is_due(count: int, turn: int = 0) -> bool:
    """Whether to look again at what seldom changes and mostly early: 1, 2, 4, … 64, 128, 192.

    From EVERY on `turn` moves it, so that not all have theirs in one scan.
    """
    return count & (count - 1) == 0 if count < EVERY else (count + turn) % EVERY == 0


def next_due(count: int, turn: int = 0) -> int:
    """The next greater number that is due: see `is_due`."""
    if count < EVERY // 2:
        return 1 << count.bit_length()
    least = max(count + 1, EVERY)
    return least + -(least + turn) % EVERY


class Walker:
    """Finds the cgroups of one hierarchy, again and again.

    A directory's link count is 2 plus its sub-directories (fs/kernfs/inode.c,
    kernfs_refresh_inode), so that leaves, nearly all cgroups, need no listing. File systems
    that do not count (btrfs under a captured tree) say 1 and are listed.
    """

    def __init__(self, root: str, salt: int = 0) -> None:
        self._root = root
        self._turn = turn_of(salt)
        # By path: inode as listed and as stat() has it (overlays may give two numbers), leaf.
        self._seen: dict[str, tuple[int, int, bool]] = {}
        # What the last walk looked at: all names in a directory, or a leaf's inode.
        self._listings: dict[str, list[str]] = {}
        self._leaves: dict[str, int] = {}
        self._walks = 0
        self._notices: Notices | None = None
        # What the last walk looked at, as far as it is watched: inode and watch.
        self._watches: dict[str, tuple[int, Watch]] = {}
        self.left_out = 0
        self.errors: list[OSError] = []

    def heed(self, notices: Notices) -> None:
        """Do not look again where the kernel would have told of something new."""
        self._notices = notices

    def walk(
        self,
        allow: Callable[[str, int], int] = lambda _, children: children,
        leaves: AbstractSet[str] = frozenset(),
    ) -> Iterator[tuple[str, int, bool]]:
        """Visit the cgroups, parents before children.

        Args:
            allow: given a path and how many children it has, how many of them to visit.
            leaves: paths to take for the leaves they were here, and look at now and then
                only, while their inode stays.

        Yields:
            Path below the root ("/" for the root itself), inode, and whether the cgroup has
            no child. Removed and unreadable directories are left out. Afterwards `left_out`
            counts the children that were not visited, and `errors` holds what else went wrong.
        """
        look_again = is_due(self._walks, self._turn)
        self._walks += 1
        self.left_out = 0
        self.errors = []
        self._listings = {}
        self._leaves = {}
        seen = {}
        pending = [("", 0)]
        while pending:
            below, listed = pending.pop()
            known = self._seen.get(below)
            if (
                known is not None
                and below in leaves
                and known[0] == listed
                and known[2]
                and not look_again
            ):
                inode, leaf = known[1], True
            else:
                try:
                    inode, children = self._look(below)
                except OSError as exc:
                    if exc.errno not in VANISHED:
                        self.errors.append(exc)
                    continue
                leaf = not children
                if below in leaves:
                    self._leaves.pop(below, None)  # told by another hierarchy
                if children:
                    allowed = allow(below or "/", len(children))
                    self.left_out += len(children) - allowed
                    pending.extend(children[:allowed])
            seen[below] = (listed, inode, leaf)
            yield below or "/", inode, leaf
        self._seen = seen
        for below in self._watches.keys() - self._listings.keys() - self._leaves.keys():
            self._unwatch(below)

    def _watch(self, below: str, inode: int) -> bool:
        """Watch a directory that is about to be listed; whether that is new."""
        if self._notices is None:
            return False
        known = self._watches.get(below)
        if known is not None and known[0] == inode:
            known[1].relisted = False
            return False
        if known is not None:
            self._unwatch(below)
        watch = self._notices.watch(self._root + below)
        if watch is None:
            return False
        watch.relisted = False
        self._watches[below] = (inode, watch)
        return True

    def _unwatch(self, below: str) -> None:
        assert self._notices is not None
        self._notices.drop(self._watches.pop(below)[1])

    def _look(self, below: str) -> tuple[int, list[tuple[str, int]]]:
        path = self._root + below
        status = host.os.stat(path)
        if self._watch(below, status.st_ino):
            status = host.os.stat(path)  # what was made in between was not told
        if status.st_nlink == 2:
            self._leaves[below] = status.st_ino
            return status.st_ino, []
        with host.os.scandir(path) as found:
            entries = list(found)
        self._listings[below] = [entry.name for entry in entries]
        return status.st_ino, [
            (f"{below}/{entry.name}", entry.inode())
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
        ]

    def is_unchanged(self) -> bool:
        """Whether a walk would find what the last one found.

        Where nothing is watched, a directory that was removed and made again under its name may
        pass for the old one, but its files do not: they read as GONE.
        """
        if self.errors or self.left_out:
            return False
        if any(watch.relisted for _, watch in self._watches.values()):
            return False
        trusted: Container[str] = self._watches
        leaves = self._leaves
        if is_due(self._walks, self._turn):
            looked_at = self._listings.keys() | leaves.keys()
            if self._notices is not None and not looked_at <= self._watches.keys():
                return False  # a walk watches them
            trusted = ()
            leaves = {below: inode for below, (_, inode, leaf) in self._seen.items() if leaf}
        if not self._are_as_they_were(leaves, trusted):
            return False
        self._walks += 1
        return True

    def _are_as_they_were(self, leaves: Mapping[str, int], trusted: Container[str]) -> bool:
        try:
            for below, names in self._listings.items():
                if below not in trusted and host.os.listdir(self._root + below) != names:
                    return False
            for below, inode in leaves.items():
                if below not in trusted:
                    status = host.os.stat(self._root + below)
                    if status.st_nlink != 2 or status.st_ino != inode:
                        return False
        except OSError:
            return False  # the walk says what it is
        return True
