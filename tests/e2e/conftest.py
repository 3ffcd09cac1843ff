"""One run on real parameter servers that several modules look at."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint import table_state

PROGRAM = pathlib.Path(__file__).with_name("parameter_server_program.py")
DEADLINE_SECONDS = 300


@dataclasses.dataclass
class ParameterServerRun:
    """What `parameter_server_program.py` left behind.

    Attributes:
        directory: Its folder, with checkpoints and tables.
        report: What it found.
        contents: The table that was saved by one process as `shards-1` and,
            split in three, as `shards-3`: ids, times, rows.
    """

    directory: pathlib.Path
    report: dict
    contents: dict

    def table(self, name):
        """Ids, times and rows of a table that the program wrote."""
        with np.load(self.directory / f"{name}.npz") as file:
            return dict(file)


@pytest.fixture(scope="session")
def parameter_server_run(tmp_path_factory):
    """Runs the program once; its process connects to the cluster, not this."""
    directory = tmp_path_factory.mktemp("parameter_server")
    random = np.random.default_rng(8)
    ids = np.sort(random.choice(2**62, 500, replace=False) - 2**61)
    contents = {
        "ids": ids,
        "times": random.integers(0, 2**32, 500),
        "rows": random.normal(size=(500, 9)).astype(np.float32),
    }
    for shards in (1, 3):
        with mt.TableSet(num_shards=shards):
            table = mt.Table(
                mt.TableConfig("ordered", dim=3, optimizer=mt.optimizers.Adam())
            )
        for shard in range(shards):
            mine = table_state.owners(tf.constant(ids), shards).numpy()
            mt.ops.import_rows(
                table.table_set.handles[shard],
                np.stack([ids, contents["times"]], axis=1)[mine == shard],
                contents["rows"][mine == shard],
                table="ordered",
            )
        assert table.size() == 500
        tf.train.Checkpoint(table=table).write(
            str(directory / f"shards-{shards}")
        )
    result = subprocess.run(
        [sys.executable, str(PROGRAM), str(directory)],
        # Not the root: `python -m` in the cluster's processes would find the
        # source tree before an installed wheel.
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
    report = json.loads((directory / "report.json").read_text())
    return ParameterServerRun(directory, report, contents)
