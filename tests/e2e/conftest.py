"""One run on real parameter servers that several modules look at."""

import dataclasses
import fcntl
import json
import os
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
import processes
from monolith_tf.placement.sharding import owners_of
from monolith_tf.placement.table_set import servers_of

PROGRAM = pathlib.Path(__file__).with_name("cluster_program.py")


@dataclasses.dataclass
class ClusterRun:
    """Results of `cluster_program.py`.

    Attributes:
        directory: Its folder, with checkpoints and tables.
        contents: The table that was saved by one process as `shards-1` and,
            split in three, as `shards-3`: ids, times, rows.
    """

    directory: pathlib.Path
    contents: dict

    def report(self, part):
        """Returns what a part of the program found."""
        found = json.loads((self.directory / f"{part}.json").read_text())
        assert "error" not in found, found["error"]
        return found

    def table(self, name):
        """Ids, times and rows of a table that the program wrote."""
        with np.load(self.directory / f"{name}.npz") as file:
            return dict(file)


@pytest.fixture(scope="session")
def cluster_run(tmp_path_factory):
    """Runs the program once; its process connects to the cluster, not this."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Of all workers of pytest-xdist.
        shared = shared.parent
    directory = shared / "cluster"
    random = np.random.default_rng(8)
    ids = np.sort(random.choice(2**62, 500, replace=False) - 2**61)
    contents = {
        "ids": ids,
        # Of the past: a restore does not believe times that are far ahead.
        "times": random.integers(0, 1_700_000_000, 500),
        "rows": random.normal(size=(500, 9)).astype(np.float32),
    }
    with open(shared / "cluster.lock", "w") as lock:
        # The first worker runs the program, the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            directory.mkdir()
            save(directory, contents)
            # Not -P: the parts of the program are its siblings.
            processes.run([sys.executable, PROGRAM, directory], cwd=directory)
    return ClusterRun(directory, contents)


def save(directory, contents):
    """Writes a table as checkpoints of one and of three shards."""
    ids = contents["ids"]
    for shards in (1, 3):
        with mt.TableSet(num_shards=shards):
            table = mt.Table(
                mt.TableConfig("ordered", dim=3, optimizer=mt.optimizers.Adam())
            )
        for shard in range(shards):
            mine = owners_of(tf.constant(ids), shards).numpy()
            mt.ops.import_rows(
                servers_of(table.table_set)[shard].handle,
                np.stack([ids, contents["times"]], axis=1)[mine == shard],
                contents["rows"][mine == shard],
                table="ordered",
            )
        assert table.size() == 500
        tf.train.Checkpoint(table=table).write(
            str(directory / f"shards-{shards}")
        )
