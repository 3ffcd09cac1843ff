"""The benchmark of parameter servers runs, and its JSON has what it says."""

from __future__ import annotations

import json
import sys

import pytest

import processes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def run(repository_root):
    def call(*arguments):
        return processes.run(
            [sys.executable, "benchmarks/parameter_server.py", *arguments],
            code=None,
            cwd=repository_root,
        )

    return call


@pytest.mark.soak
def test_a_cluster_beside_one_process(run, tmp_path):
    path = tmp_path / "record.json"
    done = run(
        "--features=3",
        "--ids=500",
        "--dim=4",
        "--hidden=8",
        "--batch=64",
        "--batches=6",
        "--steps=8",
        "--epochs=1",
        "--rounds=2",
        "--num_ps=2",
        "--steps_per_execution=4",
        "--staleness=1",
        "--delay_ms=1",
        "--wire_dtype=bfloat16",
        "--peers=collection:1,monolith:0",
        "--profile=",
        f"--json={path}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(path.read_text())
    assert set(record["examples_per_second"]) == {"collection:1", "monolith:0"}
    assert min(record["examples_per_second"].values()) > 0
    assert set(record["ratios"]) == {"collection:1 / monolith:0"}
    median, least, most = record["ratios"]["collection:1 / monolith:0"]
    assert least <= median <= most
    cluster = record["servers_a_step"]["collection:1"]
    # What the servers saw: each distinct id once, in both calls alike.
    assert 3 < cluster["lookup"]["ids"] <= 3 * 64
    assert cluster["apply"]["ids"] == cluster["lookup"]["ids"]
    assert cluster["lookup"]["bytes"] > cluster["lookup"]["ids"] * (8 + 4 * 4)
    assert set(record["cpu_ms_a_step"]["collection:1"]) == {
        "chief",
        "worker",
        "ps",
    }
    for words in ("examples/s", "Ratios of rounds", "lookup ids"):
        assert words in done.stdout


@pytest.mark.parametrize("peer", ["collection", "other:2", "tfra:x"])
def test_a_peer_that_is_none_is_refused(run, peer):
    done = run(f"--peers={peer}")
    assert done.returncode != 0
    assert "embedding:workers" in done.stdout + done.stderr
    assert repr(peer) in done.stdout + done.stderr
