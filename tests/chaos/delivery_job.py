"""One job of a chaos run: a trainer that pushes to a model server.

    trainer --> FaultProxy (bytes) --> RequestProxy (calls) --> model server

The trainer and the server write to one disk, which may fill up or lose power.
Everything that a job draws comes from its seed.
"""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import random
import re
import signal
import sys
import threading
import time

import disks
import grpc
import history as history_lib
import history_rules
import network
import numpy as np
import request_proxy
from jumping_clock import JumpingClock
from power_cut import PowerCut
from roles import Role

import processes
from monolith_tf.errors import DeliveryError
from monolith_tf.serving import PredictionClient

MODEL = "ranker"
TABLES = ("movie", "user")
NUM_IDS = 40
READS_PER_CALL = 10
READ_PAUSE_SECONDS = 0.05
# From the end of all faults to the delivery of everything.
SETTLE_SECONDS = 150.0
START_SECONDS = 120.0
# How long an id that has a row may lack one in serving, without a fault.
DEAD_SECONDS = 10.0
SMALL_DISK_BYTES = 64 << 20

_TRAINER = pathlib.Path(__file__).with_name("delivery_trainer.py")


class DeliveryJob:
    """A trainer, a model server, and what is between them.

    Args:
        folder: Empty folder of the job.
        seed: Seed of all draws.

    Attributes:
        chance: Random numbers of the job.
        injected: Number of faults by kind.
        ended: Number of times that a role ended by itself, by its last words.
        network: `FaultProxy` between trainer and server.
        calls: `RequestProxy` behind it.
        power: `PowerCut` of the disk, None if the disk is a small one.
        disk: `SmallDisk` of the delta log, None if there is `power`.
        clock: `JumpingClock` of the trainer.
        saves: "snapshots" or "checkpoints" of the trainer.
    """

    def __init__(self, folder: pathlib.Path, seed: str):
        """Starts all roles and waits until they train."""
        self.chance = random.Random(seed)
        self.injected = collections.Counter()
        self.ended = collections.Counter()
        self.folder = folder
        self._closing = contextlib.ExitStack()
        self._trainer_lives = 0
        self._server_lives = 0
        self._life = ""
        self._stop = threading.Event()
        self._read_error = None
        self._make_disk()
        self._history = history_lib.Recorder(folder / "history")
        self.clock = JumpingClock(folder)
        self._set_life("")
        self.trainer = self.server = None
        self._server_port = 0
        try:
            self.start_server()
            self.calls = self._closing.enter_context(
                request_proxy.RequestProxy(f"localhost:{self._server_port}")
            )
            self.network = self._closing.enter_context(
                network.FaultProxy(self.calls.address)
            )
            self.start_trainer()
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        except BaseException:
            self.close()
            raise

    def _make_disk(self) -> None:
        disk = self.folder / "disk"
        self.saves = self.chance.choice(
            ("snapshots", "snapshots", "checkpoints")
        )
        for name in ("models", "log", "snapshots"):
            (disk / name).mkdir(parents=True)
        self.disk = self.power = None
        if self.chance.random() < 0.4:
            self.disk = self._closing.enter_context(
                disks.small_disk(disk / "log", SMALL_DISK_BYTES)
            )
        else:
            self.power = PowerCut(
                disk, self.folder / "store", self.chance.randrange(2**32)
            )

    # --- Roles --------------------------------------------------------------

    def start_server(self) -> None:
        """Starts the model server, on the port of its former life."""
        self.server = Role(
            "server",
            [
                *processes.MONOLITH_TF,
                "serve",
                f"{MODEL}={self.folder / 'disk' / 'models'}",
                f"--port={self._server_port}",
                "--file_system_poll_wait_seconds=0.05",
            ],
            self.folder / "server.log",
        )
        ready = self.server.wait_for("ready grpc=", START_SECONDS)
        if ready is None:
            raise AssertionError("the model server does not start")
        self._server_port = int(re.search(r"grpc=\S+:(\d+)", ready)[1])
        self._server_lives += 1
        self._set_life(str(self._server_lives))

    def end_server(self, signal_number: int) -> None:
        """Ends the model server."""
        self._set_life("")
        self.server.end(signal_number)

    def start_trainer(self, fail_at: str = "") -> None:
        """Starts the trainer, with failpoints.

        Args:
            fail_at: Value of MONOLITH_TF_FAIL_AT. A trainer that ends before it
                trains is started again without.
        """
        self._trainer_lives += 1
        environment = {**self.clock.environment, "MONOLITH_TF_FAIL_AT": fail_at}
        if self.power is not None:
            environment |= self.power.environment
        self.trainer = Role(
            "trainer",
            [
                *(sys.executable, "-P", _TRAINER, self.folder),
                *(self.network.address, self._trainer_lives, self.saves),
            ],
            self.folder / "trainer.log",
            environment,
        )
        if self.trainer.wait_for("training", START_SECONDS) is None:
            if not fail_at:
                self.note_end()
                raise AssertionError(
                    f"the trainer does not start: {self.last_words()}"
                )
            self.restart_trainer()

    def restart_trainer(self, fail_at: str = "") -> None:
        """Kills the trainer, if it runs, and starts it again."""
        self.trainer.end(signal.SIGKILL)
        self.start_trainer(fail_at)

    def supervise(self) -> None:
        """Starts a trainer again that has ended by itself."""
        if not self.trainer.is_running():
            self.note_end()
            self.restart_trainer()

    def note_end(self) -> None:
        """Counts an end that no signal of this process has caused."""
        if self.trainer.process.wait() != -signal.SIGKILL:
            self.ended[self.last_words()] += 1
            print(f"ended by itself:\n{self._log()[-1500:]}", flush=True)

    def last_words(self) -> str:
        """Returns the last line of the trainer's log, without numbers."""
        lines = [line for line in self._log().splitlines() if line.strip()]
        return re.sub(r"\d+", "N", (lines or [""])[-1])[:160]

    def _log(self) -> str:
        return (self.folder / "trainer.log").read_text(errors="replace")

    def wait(self, seconds: float) -> None:
        """Lets the job run, and restarts what ends."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.supervise()
            self._stop.wait(min(left, 0.1))

    def wait_until_it_fires(self, seconds: float) -> None:
        """Waits for a failpoint of the trainer, or until the time is over.

        Call it right after the trainer was started with failpoints.
        """
        fired = self._log().count("FAILPOINT ")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.supervise()
            if self._log().count("FAILPOINT ") > fired:
                return
            self._stop.wait(0.1)

    def pause(self, seconds: float) -> None:
        """Lets time pass, and restarts nothing."""
        self._stop.wait(seconds)

    @contextlib.contextmanager
    def fault(self, what: str):
        """Records a fault that ends with the block."""
        self.injected[what] += 1
        begin = time.monotonic()
        try:
            yield
        finally:
            self._history.record("faulty", begin, what=what)

    def _set_life(self, life: str) -> None:
        self._life = life
        partial = self.folder / "server_life.partial"
        partial.write_text(life)
        partial.rename(self.folder / "server_life")

    # --- Reads --------------------------------------------------------------

    def _read(self) -> None:
        """Reads rows from the server all the time."""
        chance = random.Random(0)
        address = f"localhost:{self._server_port}"
        with PredictionClient(
            address, timeout_seconds=2.0, max_attempts=1
        ) as client:
            while not self._stop.wait(READ_PAUSE_SECONDS):
                ids = chance.sample(range(NUM_IDS), READS_PER_CALL)
                try:
                    self._read_once(client, ids)
                except DeliveryError:
                    # It is away, or loads its first version.
                    continue
                except BaseException as error:
                    self._read_error = error
                    return

    def _read_once(self, client, ids) -> None:
        for index, table in enumerate(TABLES):
            life, begin = self._life, time.monotonic()
            values, version = self._values(client, index, ids)
            if life and life == self._life:
                self._history.served(
                    begin, table, ids, values, f"{life}/{version}"
                )

    def _values(self, client, index: int, ids):
        reply = client.predict(
            MODEL, {"ids": np.array(ids, np.int64)}, f"monolith_lookup_{index}"
        )
        rows, exists = reply.outputs["rows"], reply.outputs["exists"]
        values = [
            float(row[0]) if there else None
            for row, there in zip(rows, exists, strict=True)
        ]
        return values, reply.version

    # --- Checks -------------------------------------------------------------

    def settle(self) -> list[str]:
        """Ends the round: delivers all, then checks the whole history.

        Returns:
            What is wrong, in words.
        """
        settled = self.folder / "settled.json"
        settled.unlink(missing_ok=True)
        deadline = time.monotonic() + SETTLE_SECONDS
        asked = None
        while not settled.exists():
            if time.monotonic() > deadline:
                return [
                    f"not settled in {SETTLE_SECONDS} s: {self.last_words()}"
                ]
            self.supervise()
            if asked is not self.trainer:
                asked = self.trainer
                asked.say("settle")
            self._stop.wait(0.02)
        state = json.loads(settled.read_text())
        found = self._differences(state)
        found += history_rules.check_delivery(
            self.folder / "history", state["rows"], DEAD_SECONDS
        )
        if self._read_error is not None:
            found.append(f"a read failed: {self._read_error!r}")
        self.trainer.say("go")
        return found

    def _differences(self, settled: dict) -> list[str]:
        found = []
        address = f"localhost:{self._server_port}"
        ids = range(NUM_IDS)
        with PredictionClient(address, timeout_seconds=60.0) as client:
            for index, table in enumerate(TABLES):
                values, _ = self._values(client, index, ids)
                found += [
                    f"{table} {one} is served as {value}, trained as {expected}"
                    for one, value, expected in zip(
                        ids, values, settled["rows"][table], strict=True
                    )
                    if value != expected
                ]
            inputs = dict.fromkeys(TABLES, np.arange(NUM_IDS))
            scores = client.predict(MODEL, inputs).outputs["score"][:, 0]
        if not np.allclose(scores, settled["scores"], rtol=1e-4, atol=1e-4):
            found.append(f"scores {scores} differ from {settled['scores']}")
        return found

    def counts(self) -> collections.Counter:
        """Returns the faults so far by kind, those of failpoints by name."""
        counts = collections.Counter(self.injected)
        for line in self._log().splitlines():
            if line.startswith("FAILPOINT "):
                _, name, _, _, action = line.split()
                counts[f"failpoint {name} {action}"] += 1
        return counts

    def close(self) -> None:
        """Ends all roles."""
        self._stop.set()
        for role in (self.trainer, self.server):
            if role is not None:
                role.end(signal.SIGKILL)
        if hasattr(self, "_reader"):
            self._reader.join()
        self._closing.close()
        self._history.close()

    def lose_late_calls(self) -> None:
        """Sends late copies of calls, whatever the server says to them."""
        with contextlib.suppress(grpc.RpcError):
            self.calls.send_late()
