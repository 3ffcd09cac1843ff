"""States of the processes of a cluster, and what they did."""

import json
import os
import subprocess
import time

import fake_roles
import process_faults
import prometheus_client
import pytest

from monolith_tf.commands import main


@pytest.fixture
def listener():
    with fake_roles.StatusServer() as server:
        yield server.address


def write(folder, *processes):
    (folder / "cluster.json").write_text(json.dumps(processes))


def test_who_answers_is_shown_with_what_it_did(tmp_path, listener, capsys):
    registry = prometheus_client.CollectorRegistry()
    calls = prometheus_client.Counter(
        "monolith_server_apply_calls", "x", registry=registry
    )
    calls.inc(7)
    rows = prometheus_client.Gauge(
        "monolith_table_num_rows", "x", ["table"], registry=registry
    )
    rows.labels("a").set(3)
    rows.labels("b").set(4)
    server, thread = prometheus_client.start_http_server(
        0, "localhost", registry=registry
    )
    try:
        write(
            tmp_path,
            {
                "name": "ps 0",
                "address": listener,
                "metrics_port": server.server_port,
            },
        )
        assert main.main(["cluster-status", str(tmp_path)]) == 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    said = capsys.readouterr().out
    assert said == f"ps 0 {listener}: alive, 7 updates, 7 rows\n"


def test_who_does_not_answer_is_an_exit_code(tmp_path, listener, capsys):
    write(
        tmp_path,
        {"name": "ps 0", "address": listener},
        {"name": "ps 1", "address": "localhost:9", "metrics_port": 9},
    )
    assert main.main(["cluster-status", str(tmp_path)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"ps 0 {listener}: alive"
    assert second.startswith("ps 1 localhost:9: dead (")
    assert second.endswith("no metrics")


def test_who_takes_connections_and_is_silent_is_hung(tmp_path, capsys):
    with (
        fake_roles.silent_listener() as silent,
        fake_roles.full_listener() as unreachable,
    ):
        write(
            tmp_path,
            {"name": "ps 0", "address": silent},
            {"name": "ps 1", "address": unreachable},
        )
        assert main.main(["cluster-status", str(tmp_path)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"ps 0 {silent}: hung (")
    assert second.startswith(f"ps 1 {unreachable}: partitioned (")


def test_who_has_no_free_thread_is_slow(tmp_path, capsys):
    with fake_roles.StatusServer() as server:
        server.may_answer.clear()
        write(tmp_path, {"name": "ps 0", "address": server.address})
        assert main.main(["cluster-status", str(tmp_path)]) == 0
    assert f"ps 0 {server.address}: slow" in capsys.readouterr().out


@pytest.mark.e2e
def test_the_process_itself_tells_who_is_stopped_or_starts(tmp_path, capsys):
    with (
        subprocess.Popen(["sleep", "1000"]) as stopped,
        subprocess.Popen(["sleep", "1000"]) as starting,
        subprocess.Popen(["true"]) as ended,
    ):
        ended.wait()
        pids = (stopped.pid, starting.pid, os.getpid(), ended.pid)
        write(
            tmp_path,
            *(
                {"name": name, "address": address, "pid": pid}
                for name, address, pid in zip(
                    ("ps 0", "ps 1", "evaluator 0", "ps 2", "ps 3"),
                    ("localhost:9", "localhost:9", None, "localhost:9", None),
                    (*pids, None),
                    strict=True,
                )
            ),
        )
        with process_faults.stopped(stopped.pid):
            assert main.main(["cluster-status", str(tmp_path)]) == 1
        stopped.kill()
        starting.kill()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("ps 0 localhost:9: hung (process")
    assert said[1].startswith("ps 1 localhost:9: starting (")
    assert said[2] == "evaluator 0: alive"
    assert said[3].startswith("ps 2 localhost:9: dead (process")
    assert said[4] == "ps 3: starting"


@pytest.mark.parametrize(
    ("step", "shown"),
    [(120, ", step 120, 30 calls of workers, "), (None, ", 30 calls of wo")],
)
def test_the_chief_is_shown_with_its_step(
    tmp_path, listener, capsys, step, shown
):
    write(
        tmp_path,
        {"name": "ps 0", "address": listener},
        {"name": "chief 0", "address": listener},
    )
    record = {"step": step, "calls": 30, "time": time.time()}
    (tmp_path / "progress.json").write_text(json.dumps(record))
    assert main.main(["cluster-status", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"ps 0 {listener}: alive"
    assert second.startswith(f"chief 0 {listener}: alive{shown}")
    assert second.endswith(" s ago")


def test_tf_config_names_the_cluster_too(listener, capsys, monkeypatch):
    config = {
        "cluster": {"ps": [listener]},
        "task": {"type": "ps", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert main.main(["cluster-status"]) == 0
    assert capsys.readouterr().out == f"ps 0 {listener}: alive\n"


def test_a_folder_of_no_job_is_an_error(tmp_path, capsys):
    assert main.main(["cluster-status", str(tmp_path)]) == 1
    assert "there is no" in capsys.readouterr().err
