"""The benchmark of recoveries runs, and its JSON has what it says."""

import json
import sys

import pytest

import processes

pytestmark = [pytest.mark.e2e, pytest.mark.soak]


def test_every_kill_is_measured(repository_root, tmp_path):
    done = processes.run(
        [
            *(sys.executable, "benchmarks/recovery.py", "--rows=200000"),
            *("--dim=4", "--servers", "2", f"--directory={tmp_path}"),
        ],
        cwd=repository_root,
    )
    record = json.loads(done.stdout.splitlines()[-1])
    found = {
        (x["recovery"], x["role"]): x["kept"] for x in record["recoveries"]
    }
    assert found == {
        ("exact", "ps"): 0,
        ("exact", "chief"): 0,
        ("partial", "ps"): 1,
        ("partial", "chief"): 2,
    }
    for recovery in record["recoveries"]:
        seconds = recovery["seconds"]
        assert 0 < seconds["seen"] < seconds["imported"] < seconds["connected"]
        assert seconds["connected"] < seconds["restored"] < seconds["step"]
