"""Kills a role of a job and measures the time to the next training step.

Example:
    TF_USE_LEGACY_KERAS=1 python benchmarks/recovery.py --rows=10000000

One job per number of parameter servers and kind of recovery: it fills a table,
takes a snapshot of all rows and increments of it each second, then one role is
killed with SIGKILL. Each column counts seconds since the kill: `seen` when the
launcher has logged it, `import` when the new chief has loaded TensorFlow,
`connected` when it has reached every process, `restored` when the rows are back
and `step` when the first steps are done. The ceiling of the same run is one
file of as many bytes as a restore reads, read from the same disk.
"""

from __future__ import annotations

import argparse
import logging
import os
import pathlib
import re
import shutil
import signal
import statistics
import tempfile
import threading
import time

from common import print_json
from common import print_table

from monolith_tf.cluster import Job

PROGRAM = pathlib.Path(__file__).with_name("recovery_program.py")
_LIMIT_SECONDS = 1800.0
_BLOCK_BYTES = 8 << 20
_MARKS = ("seen", "imported", "connected", "restored", "step")


def main() -> None:
    """Measures, and prints a table and a record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--servers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--roles", nargs="+", default=["ps", "chief"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--directory", help="disk of the snapshots")
    flags = parser.parse_args()
    records = []
    for num_ps in flags.servers:
        for kind in ("exact", "partial"):
            folder = pathlib.Path(tempfile.mkdtemp(dir=flags.directory))
            try:
                records += _measure(flags, num_ps, kind, folder)
            finally:
                shutil.rmtree(folder)
    print_table(
        f"{flags.rows} rows of dim {flags.dim} with Adagrad; seconds since the "
        "kill",
        [
            (
                *("servers", "killed", "recovery", *_MARKS),
                *("kept", "lost steps", "bytes read", "disk, read"),
            ),
            *(
                (
                    *(x["servers"], x["role"], x["recovery"]),
                    *(f"{x['seconds'][mark]:.1f}" for mark in _MARKS),
                    *(x["kept"], x["lost_steps"]),
                    f"{x['bytes'] / 2**20:.0f} MiB",
                    f"{x['disk_seconds']:.2f} s",
                )
                for x in records
            ),
        ],
    )
    print_json({"rows": flags.rows, "dim": flags.dim, "recoveries": records})


class _Run:
    """A job in a thread, and what it has said when."""

    def __init__(self, flags, num_ps: int, kind: str, folder: pathlib.Path):
        self.marks: list[tuple[str, float]] = []
        self._condition = threading.Condition()
        self._text = ""
        self._has_ended = False
        command = [
            *(str(PROGRAM), str(folder / "snapshots"), str(flags.rows)),
            *(str(flags.dim), str(int(kind == "partial"))),
        ]
        self.job = Job(
            command,
            num_ps=num_ps,
            num_workers=1,
            max_restarts=100,
            log_directory=folder / "logs",
            on_output=self._read,
        )
        self.pids: dict[str, int] = {}
        self._handler = _Handler(self._say, self.pids)
        logger = logging.getLogger("monolith_tf.launch")
        logger.addHandler(self._handler)
        logger.setLevel(logging.INFO)

    def _read(self, text: str) -> None:
        self._text += text
        *lines, self._text = self._text.split("\n")
        for line in lines:
            if line.startswith("MARK "):
                _, name, seconds = line.split()
                self._say(name, float(seconds))

    def _say(self, name: str, seconds: float) -> None:
        with self._condition:
            self.marks.append((name, seconds))
            self._condition.notify_all()

    def wait_for(self, name: str, since: float) -> tuple[str, float]:
        """Returns the first mark of a name after a moment."""

        def find():
            return next(
                (
                    mark
                    for mark in self.marks
                    if mark[0].split(":")[0] == name and mark[1] > since
                ),
                None,
            )

        with self._condition:
            self._condition.wait_for(
                lambda: find() or self._has_ended, _LIMIT_SECONDS
            )
            if find() is None:
                raise RuntimeError(f"{name} was not reached: {self.marks}")
            return find()

    def end(self) -> None:
        """Wakes who waits: the job has ended."""
        with self._condition:
            self._has_ended = True
            self._condition.notify_all()

    def close(self) -> None:
        """Stops the job."""
        logging.getLogger("monolith_tf.launch").removeHandler(self._handler)
        if not self._has_ended:
            os.kill(os.getpid(), signal.SIGTERM)


class _Handler(logging.Handler):
    """Marks what the launcher logs, and keeps the pids of processes."""

    def __init__(self, say, pids):
        super().__init__()
        self._say = say
        self._pids = pids

    def emit(self, record):
        message = record.getMessage()
        if re.match(r"\w+ \d+ \(process", message):
            self._say("seen", record.created)
        if started := re.match(r"(\w+ \d+) started: process (\d+)", message):
            self._pids[started[1]] = int(started[2])


def _measure(flags, num_ps: int, kind: str, folder: pathlib.Path) -> list[dict]:
    run = _Run(flags, num_ps, kind, folder)
    records: list[dict] = []

    def measure():
        try:
            since = 0.0
            for _ in range(flags.rounds):
                for role in flags.roles:
                    run.wait_for("filled", since)
                    since = time.time()
                    records.append(_kill(run, folder, num_ps, kind, role))
        finally:
            run.close()

    thread = threading.Thread(target=measure)
    thread.start()
    run.job.run()  # In the main thread, because it sets signal handlers.
    run.end()
    thread.join()
    if len(records) < flags.rounds * len(flags.roles):
        raise RuntimeError("The job ended early; its chief's log says why.")
    return records


def _kill(run: _Run, folder, num_ps: int, kind: str, role: str) -> dict:
    name = "chief 0" if role == "chief" else f"{role} {num_ps - 1}"
    killed = time.time()
    os.kill(run.pids[name], signal.SIGKILL)
    seconds = {mark: run.wait_for(mark, killed)[1] - killed for mark in _MARKS}
    _, kept, lost, num_bytes = run.wait_for("kept", killed)[0].split(":")
    return {
        "servers": num_ps,
        "role": role,
        "recovery": kind,
        "seconds": seconds,
        "kept": int(kept),
        "lost_steps": int(lost),
        "bytes": int(num_bytes),
        "disk_seconds": _read_seconds(folder / "disk", int(num_bytes)),
    }


def _read_seconds(path: pathlib.Path, num_bytes: int) -> float:
    """Returns the median time to read one file of so many bytes."""
    block = bytes(_BLOCK_BYTES)
    with open(path, "wb") as file:
        for begin in range(0, num_bytes, _BLOCK_BYTES):
            file.write(block[: num_bytes - begin])
        file.flush()
        os.fsync(file.fileno())
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            while file.read(_BLOCK_BYTES):
                pass
        times.append(time.perf_counter() - begin)
    path.unlink()
    return statistics.median(times)


if __name__ == "__main__":
    main()
