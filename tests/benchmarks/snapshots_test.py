"""The benchmark of snapshots runs and prints its record."""

import json
import os
import sys

import pytest

import processes


@pytest.mark.e2e
@pytest.mark.slow
def test_a_small_run_prints_a_table_and_a_record(repository_root, tmp_path):
    done = processes.run(
        [
            *(sys.executable, repository_root / "benchmarks/snapshots.py"),
            *("--rows=3000", "--dim=4", "--rounds=1", "--update_ids=64"),
            f"--directory={tmp_path}",
        ],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
    )
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["bytes"] == 3000 * 48
    assert set(record["update_ms"]) == {"50", "99"}
    assert "snapshot, restore" in done.stdout
    assert "Longest stall" in done.stdout
    assert list(tmp_path.iterdir()) == []
