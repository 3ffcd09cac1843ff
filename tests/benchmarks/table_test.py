"""The benchmark of the table runs, and its JSON has what it says."""

from __future__ import annotations

import json
import sys

import pytest

import processes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = (
    "--ids=4000",
    "--batches=512",
    "--threads=1",
    "--rounds=2",
    "--growth_batch=1000",
    "--ceiling_mib=8",
    "--ceiling_accesses=20000",
)


@pytest.fixture(scope="module")
def run(repository_root):
    def call(*arguments):
        return processes.run(
            [sys.executable, "benchmarks/table.py", *arguments],
            code=None,
            cwd=repository_root,
        )

    return call


@pytest.fixture(scope="module")
def output(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    done = run(
        *SMALL,
        "--peers=table,dense",
        "--measures=throughput,growth",
        f"--json={folder / 'table.json'}",
        f"--plot={folder / 'table.png'}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_json_has_every_figure(output):
    folder, _ = output
    record = json.loads((folder / "table.json").read_text())
    assert {"sizes", "clock", "seed", "machine", "left_out", "goals"} <= set(
        record
    )
    assert {run["when"] for run in record["ceiling"]} == {"before", "after"}
    assert all(run["lines"]["wall"] > 0 for run in record["ceiling"])
    rows = {row["work"]: row for row in record["throughput"]}
    assert list(rows) == ["lookup", "update", "step", "insert"]
    for work, row in rows.items():
        rates = row["wall"]["rates"]
        assert "raw" in rates
        assert all(rate["median"] > 0 for rate in rates.values())
        if work != "insert":
            assert {"table", "dense"} <= set(rates)
            assert row["wall"]["ratios"]["raw/dense"]["median"] > 0
            assert row["ceiling"]["wall"]["share"] > 0
    assert [row["peer"] for row in record["growth"]] == ["table"]
    for row in record["growth"]:
        assert row["ids"] == 4000
        assert len(row["seconds"]["wall"]) == 4
        assert row["wall"]["p999_ms"] <= row["wall"]["max_ms"]
        assert row["memory"]["ids"] == 4000
        assert "bytes_per_id" in row["memory_at_best"]


def test_the_terminal_has_tables_and_goals(output):
    _, text = output
    for title in ("Memory ceiling", "Throughput", "Growth", "Goals"):
        assert title in text


def test_the_plot_is_a_picture(output):
    folder, _ = output
    assert (folder / "table.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_flag_is_named_with_what_there_is(run):
    done = run("--peers=table,redis")
    assert done.returncode != 0
    assert "redis" in done.stderr + done.stdout
    known = "table, ready, untracked, dense, tfra, keras"
    assert known in done.stderr + done.stdout
