"""Power loss: a directory goes back to what was durable.

`tests/cc/power_cut.c` remembers in a process what each fsync made durable. A
file keeps the content of its last fsync. A name that no fsync of its directory
has made durable may be there or not: a seed decides, once for all names that
one rename has changed.
"""

from __future__ import annotations

import functools
import os
import pathlib
import random
import secrets
import shutil
import subprocess
import tempfile

_SOURCE = pathlib.Path(__file__).parents[1] / "cc" / "power_cut.c"
_MARK = "user.power_cut"


@functools.cache
def shim() -> pathlib.Path:
    """Compiles the shim, once per process; returns the library."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="power-cut-"))
    library = folder / "power_cut.so"
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC"]
    flags += ["-Wno-format-truncation", "-shared"]
    command = ["g++", "-x", "c", *flags, str(_SOURCE), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


class PowerCut:
    """A directory that can lose what was not synced.

    All that is in it at first is durable.

    Args:
        directory: The directory; it exists.
        store: Where to remember; created, on any disk.
        seed: Decides which names survive that are not durable.

    Attributes:
        environment: Variables for each process that writes to the directory.

    Raises:
        OSError: The disk has no extended attributes.
    """

    def __init__(
        self, directory: os.PathLike, store: os.PathLike, seed: int = 0
    ):
        """Remembers the directory as it is."""
        self._directory = pathlib.Path(directory).resolve()
        self._store = pathlib.Path(store)
        self._random = random.Random(seed)
        for folder in ("files", "directories", "partial"):
            (self._store / folder).mkdir(parents=True, exist_ok=True)
        self._remember(self._directory)
        self.environment = {
            "LD_PRELOAD": str(shim()),
            "POWER_CUT_DIRECTORY": str(self._directory),
            "POWER_CUT_STORE": str(self._store),
        }

    def cut(self) -> None:
        """Puts the directory back to what is durable.

        Every process that writes to it has to be dead.
        """
        live = self._clear(self._directory)
        self._rebuild(self._directory, live)
        # What survived is on the disk.
        self._remember(self._directory)

    def _remember(self, folder: pathlib.Path) -> None:
        lines = []
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                self._remember(path)
            else:
                shutil.copyfile(path, self._store / "files" / _mark(path))
            lines.append(" ".join(_entry(path)) + f" {path.name}\n")
        (self._store / "directories" / _mark(folder)).write_text("".join(lines))

    def _clear(self, folder: pathlib.Path) -> dict:
        """Empties a directory; returns its entries by name, by directory."""
        names = {}
        found = {_mark(folder): names}
        for path in sorted(folder.iterdir()):
            names[path.name] = _entry(path)
            if path.is_dir():
                found |= self._clear(path)
                path.rmdir()
            else:
                path.unlink()
        return found

    def _rebuild(self, folder: pathlib.Path, live: dict) -> None:
        mark = _mark(folder)
        durable = {}
        listing = self._store / "directories" / mark
        if listing.exists():
            for line in listing.read_text().splitlines():
                kind, one, name = line.split(" ", 2)
                durable[name] = (kind, one)
        survivors = self._survivors(durable, live.get(mark, {}))
        for name, (kind, one) in survivors.items():
            path = folder / name
            content = self._store / "files" / one
            if kind == "d":
                path.mkdir()
            elif content.exists():
                shutil.copyfile(content, path)
            else:
                # Its name survived, and none of its bytes.
                path.touch()
            os.setxattr(path, _MARK, one.encode())
            if kind == "d":
                self._rebuild(path, live)

    def _survivors(self, durable: dict, live: dict) -> dict:
        """Returns the names of a directory after the power loss."""
        changed = [
            name
            for name in sorted(durable.keys() | live.keys())
            if durable.get(name) != live.get(name)
        ]
        kept = {n: m for n, m in durable.items() if n not in changed}
        for group in _connected(changed, durable, live):
            side = self._random.choice((durable, live))
            kept |= {name: side[name] for name in group if name in side}
        return kept


def _connected(names: list, durable: dict, live: dict) -> list[list]:
    """Groups names that share a file, before or after."""
    groups: list[tuple[set, list]] = []
    for name in names:
        marks = {durable.get(name), live.get(name)} - {None}
        members = [name]
        apart = []
        for others, group in groups:
            if others & marks:
                marks |= others
                members = group + members
            else:
                apart.append((others, group))
        groups = [*apart, (marks, members)]
    return [members for _, members in groups]


def _entry(path: pathlib.Path) -> tuple[str, str]:
    return "d" if path.is_dir() else "f", _mark(path)


def _mark(path: pathlib.Path) -> str:
    """Returns the mark of a file, which gets one if it has none."""
    try:
        return os.getxattr(path, _MARK).decode()
    except OSError:
        mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        os.setxattr(path, _MARK, mark.encode())
        return mark
