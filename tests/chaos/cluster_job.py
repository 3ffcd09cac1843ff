"""One job of a chaos run: training on parameter servers, under `launch`.

Two servers, two workers and a chief, which restarts by itself whatever ends.
Everything that a job draws comes from its seed.
"""

from __future__ import annotations

import collections
import contextlib
import pathlib
import random
import re
import signal
import threading
import time

import history as history_lib
import history_rules
import process_faults
from roles import Role

import processes

ROLES = ("ps 0", "ps 1", "worker 0", "worker 1", "chief 0")
# From the end of all faults to the end of two more rounds.
SETTLE_SECONDS = 240.0
# A role that is stopped for longer is killed and restarted.
HEARTBEAT_SECONDS = 5.0

_TRAINER = pathlib.Path(__file__).with_name("cluster_trainer.py")


class ClusterJob:
    """A job under `monolith-tf launch`.

    Args:
        folder: Empty folder of the job.
        seed: Seed of all draws.

    Attributes:
        chance: Random numbers of the job.
        injected: Number of faults by kind.
        ended: Number of ends that no fault has caused; the launcher counts
            those of its roles as restarts.
    """

    def __init__(self, folder: pathlib.Path, seed: str):
        """Starts the job and waits for its first round."""
        self.chance = random.Random(seed)
        self.injected = collections.Counter()
        self.ended = collections.Counter()
        self._folder = folder
        self._history = history_lib.Recorder(folder / "history")
        self._pause = threading.Event()
        self._launcher = Role(
            "launcher",
            [
                *processes.MONOLITH_TF,
                "launch",
                f"--log_dir={folder / 'logs'}",
                *("--num_ps=2", "--num_workers=2", "--max_restarts=1000"),
                f"--heartbeat_timeout_seconds={HEARTBEAT_SECONDS}",
                *(_TRAINER, folder, self.chance.randrange(2**31)),
            ],
            # What it says of its roles, it logs.
            log=None,
        )
        try:
            self._wait_for_rounds(1)
        except BaseException:
            self.close()
            raise

    def draw(self, count: int) -> list:
        """Returns faults, with what they do."""
        kinds = (ClusterJob.kill, ClusterJob.stop)
        return [self.chance.choice(kinds) for _ in range(count)]

    def kill(self) -> None:
        """Kills a role at any moment of a step or a checkpoint."""
        role = self.chance.choice(ROLES)
        self._pause.wait(self.chance.uniform(0.0, 1.5))
        with self._fault(f"{role.split()[0]} SIGKILL"):
            with contextlib.suppress(ProcessLookupError):
                process_faults.kill(self._pid(role))
            self._wait_for_rounds(1)

    def stop(self) -> None:
        """Stops a role for a while, sometimes until the launcher kills it."""
        role = self.chance.choice(ROLES)
        self._pause.wait(self.chance.uniform(0.0, 1.5))
        with self._fault(f"{role.split()[0]} SIGSTOP"):
            # It may be gone already, by a fault before.
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                with process_faults.stopped(self._pid(role)):
                    seconds = self.chance.uniform(0.1, 3.0)
                    if self.chance.random() < 0.2:
                        seconds += HEARTBEAT_SECONDS + 1.0
                    self._pause.wait(seconds)

    def settle(self) -> list[str]:
        """Waits for two more rounds, then checks the whole history."""
        self._wait_for_rounds(2)
        return history_rules.check(
            history_lib.History(history_lib.read(self._folder / "history")),
            history_rules.served_rows_were_the_trainers,
            history_rules.served_rows_never_go_back,
            history_rules.delivered_is_equal,
        )

    def counts(self) -> collections.Counter:
        """Returns the faults so far by kind."""
        return self.injected

    def close(self) -> None:
        """Ends the job."""
        self._launcher.end(signal.SIGTERM)
        self._history.close()

    @contextlib.contextmanager
    def _fault(self, what: str):
        self.injected[what] += 1
        begin = time.monotonic()
        try:
            yield
        finally:
            self._history.record("faulty", begin, what=what)

    def _pid(self, role: str) -> int:
        found = re.findall(
            rf"{role} started: process (\d+)", "\n".join(self._launcher.lines)
        )
        return int(found[-1])

    def _num_rounds(self) -> int:
        return sum(
            " done" in line and "round " in line
            for line in self._launcher.lines
        )

    def _wait_for_rounds(self, count: int) -> None:
        enough = self._num_rounds() + count
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._num_rounds() < enough:
            if not self._launcher.is_running():
                raise AssertionError(f"the launcher ended: {self._tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"no round ended in {SETTLE_SECONDS} s: {self._tail()}"
                )
            self._pause.wait(0.02)

    def _tail(self) -> str:
        return " | ".join(self._launcher.lines[-5:])
