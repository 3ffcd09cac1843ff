"""A trainer of the chaos runs: changes rows, saves, exports and pushes.

    python delivery_trainer.py FOLDER ADDRESS LIFE SAVES

SAVES is "snapshots", in FOLDER/disk/snapshots, or "checkpoints", in
FOLDER/checkpoints. It goes on from the last one. Each change gives rows a value
that no change gave before, and is in FOLDER/history. A line on standard input
is a command:

    settle    stop to change, deliver all, write FOLDER/settled.json
    go        change again
    end       end
"""

from __future__ import annotations

import functools
import json
import pathlib
import queue
import sys
import threading
import time

import jumping_clock
import numpy as np

# Before the modules that read the clock.
jumping_clock.install()

import history as history_lib  # noqa: E402
import tensorflow as tf  # noqa: E402

import monolith_tf as mt  # noqa: E402
import small_trainer  # noqa: E402
from monolith_tf.serving import DeltaPusher  # noqa: E402
from monolith_tf.serving import PushOptions  # noqa: E402

NUM_IDS = 40
CHANGES_PER_SNAPSHOT = 150
PAUSE_SECONDS = 0.005
# Values of a life are below those of the next one, and float32 has them all.
CHANGES_PER_LIFE = 200_000


class Snapshots:
    """Snapshots of a model, numbered by changes.

    Args:
        model: The model.
        folder: Folder of the job.
    """

    def __init__(self, model, folder: pathlib.Path):
        """Restores and saves nothing yet."""
        self._model = model
        self._directory = folder / "disk" / "snapshots"
        self._writer = mt.snapshots.SnapshotWriter(
            model, self._directory, full_every=4
        )

    def restore(self) -> int:
        """Restores the newest whole snapshot; 0 if there is none."""
        # A first save that was cut off leaves files and no snapshot.
        manifest = mt.snapshots.restore(
            self._model, self._directory, allow_fresh=True
        )
        return manifest.step if manifest else 0

    def save(self, number: int) -> None:
        """Saves the model as it is after that many changes."""
        self._writer.save(step=number)


class ChaosTrainer:
    """Rows that count, and their history.

    Args:
        folder: Folder of the job.
        life: Number of this process among the trainers of the job.
        saves: "snapshots" or "checkpoints".
    """

    def __init__(self, folder: pathlib.Path, life: int, saves: str):
        """Restores the last checkpoint, if there is one."""
        self._folder = folder
        self._history = history_lib.Recorder(folder / "history")
        self._random = np.random.default_rng(life)
        self._number = life * CHANGES_PER_LIFE
        self.small = small_trainer.make_small_trainer(num_shards=2)
        self.small.model.compile(mt.optimizers.with_tables("sgd"), "mse")
        self._saved = (
            Snapshots(self.small.model, folder)
            if saves == "snapshots"
            else mt.callbacks.Checkpoints(
                self.small.model, folder / "checkpoints"
            )
        )
        restored = self._saved.restore()
        self._history.record("restored", snapshot=str(restored or ""))

    def change(self) -> None:
        """Gives some rows a new value, and removes some."""
        for name, table in self.small.tables.items():
            self._number += 1
            ids = self._random.choice(NUM_IDS, 8, replace=False)
            given = tf.constant(ids[:6], tf.int64)
            rows = tf.fill([6, table.dim], float(self._number))
            self._history.update(
                name,
                ids[:6],
                [float(self._number)] * 6,
                functools.partial(table.assign, given, rows),
            )
            removed = tf.constant(ids[6:], tf.int64)
            self._history.update(
                name,
                ids[6:],
                [None] * 2,
                functools.partial(table.remove, removed),
            )
        kernel = self.small.model.layers[-1].kernel
        kernel.assign_add(tf.fill(kernel.shape, 0.5))
        if self._number % CHANGES_PER_SNAPSHOT < 2:
            self.save()

    def save(self) -> None:
        """Saves the present rows."""
        self._history.record("snapshotted", snapshot=str(self._number))
        self._saved.save(self._number)

    def rows(self) -> dict[str, list]:
        """Returns the value of each id by table, None for no row."""
        found = {}
        ids = tf.range(NUM_IDS, dtype=tf.int64)
        for name, table in self.small.tables.items():
            rows, exists = table.lookup_with_exists(ids)
            found[name] = [
                float(row[0]) if there else None
                for row, there in zip(rows.numpy(), exists.numpy(), strict=True)
            ]
        return found

    def scores(self) -> list[float]:
        """Returns what the model answers for each id."""
        ids = tf.range(NUM_IDS, dtype=tf.int64)
        inputs = dict.fromkeys(self.small.tables, ids)
        return self.small.model(inputs)["score"].numpy()[:, 0].tolist()

    def export(self):
        """Writes the next version."""
        return self.small.export(str(self._folder / "disk" / "models"))

    def last_export(self):
        """Returns the newest version, a new one if there is none."""
        models = self._folder / "disk" / "models"
        versions = [int(p.name) for p in models.iterdir() if p.name.isdigit()]
        if not versions:
            return self.export()
        return str(models / str(max(versions)))

    def delivered(self, begin: float, instance: str) -> None:
        """Records that all before `begin` was delivered."""
        self._history.record("delivered", begin, instance=instance)


class Push(threading.Thread):
    """Pushes all the time, and records each delivery.

    Args:
        trainer: `ChaosTrainer`.
        pusher: `DeltaPusher`.
        folder: Folder of the job.
    """

    def __init__(self, trainer, pusher, folder: pathlib.Path):
        """Keeps the arguments."""
        super().__init__(name="push", daemon=True)
        self._trainer = trainer
        self._pusher = pusher
        self._server_life = folder / "server_life"
        self._round_done = threading.Condition()
        self._begin_of_delivered = 0.0
        self.error = None

    def run(self) -> None:
        """Pushes until the process ends, or an error."""
        clock = time.monotonic
        try:
            while True:
                life, begin = self._server_life.read_text(), clock()
                stats = self._pusher.push()
                if stats.delivered:
                    if life and life == self._server_life.read_text():
                        instance = f"{life}/{stats.version}"
                        self._trainer.delivered(begin, instance)
                    with self._round_done:
                        self._begin_of_delivered = begin
                        self._round_done.notify_all()
                threading.Event().wait(0.02)
        except BaseException as error:
            self.error = error
            with self._round_done:
                self._round_done.notify_all()

    def wait_until_delivered(self) -> None:
        """Waits for a delivery that begins after the call."""
        moment = time.monotonic()
        with self._round_done:
            self._round_done.wait_for(
                lambda: self.error or self._begin_of_delivered > moment
            )
        self.check()

    def check(self) -> None:
        """Raises the error that ended the thread."""
        if self.error is not None:
            raise self.error


def read_commands() -> queue.Queue:
    """Returns the lines of standard input, as they come."""
    commands = queue.Queue()

    def read():
        for line in sys.stdin:
            commands.put(line.strip())
        commands.put("end")

    threading.Thread(target=read, daemon=True).start()
    return commands


def settle(folder: pathlib.Path, trainer: ChaosTrainer, push: Push) -> None:
    """Delivers all, and writes what the rows are."""
    push.wait_until_delivered()
    partial = folder / "settled.partial"
    partial.write_text(
        json.dumps({"rows": trainer.rows(), "scores": trainer.scores()})
    )
    partial.rename(folder / "settled.json")
    print("settled", flush=True)


def main() -> None:
    """Trains until it is told to end."""
    folder, address, life, saves = pathlib.Path(sys.argv[1]), *sys.argv[2:]
    commands = read_commands()
    trainer = ChaosTrainer(folder, int(life), saves)
    if int(life) == 1:
        trainer.change()
    pusher = DeltaPusher(
        trainer.small.model,
        address,
        "ranker",
        folder / "disk" / "log",
        trainer.last_export(),
        export_fn=trainer.export,
        options=PushOptions(
            chunk_rows=16,
            timeout_seconds=2.0,
            max_attempts=2,
            max_backoff_seconds=0.2,
            # Every round, so that `delivered` is of the server that is there.
            verify_seconds=1e-3,
        ),
    )
    push = Push(trainer, pusher, folder)
    push.start()
    print("training", flush=True)
    is_changing = True
    while True:
        push.check()
        try:
            command = commands.get(timeout=PAUSE_SECONDS)
        except queue.Empty:
            if is_changing:
                trainer.change()
            continue
        if command == "end":
            return
        is_changing = command == "go"
        if command == "settle":
            settle(folder, trainer, push)


if __name__ == "__main__":
    main()
