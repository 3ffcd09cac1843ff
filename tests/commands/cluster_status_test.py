"""Who of a cluster answers, and what it did."""

import json
import socket

import prometheus_client
import pytest

from monolith_tf.commands import main


@pytest.fixture
def listener():
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        listening.listen()
        yield f"localhost:{listening.getsockname()[1]}"


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
    assert said == f"ps 0 {listener}: answers, 7 updates, 7 rows\n"


def test_who_does_not_answer_is_an_exit_code(tmp_path, listener, capsys):
    write(
        tmp_path,
        {"name": "ps 0", "address": listener},
        {"name": "ps 1", "address": "localhost:9", "metrics_port": 9},
    )
    assert main.main(["cluster-status", str(tmp_path)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"ps 0 {listener}: answers"
    assert second.startswith("ps 1 localhost:9: does not answer")
    assert second.endswith("no metrics")


def test_tf_config_names_the_cluster_too(listener, capsys, monkeypatch):
    config = {
        "cluster": {"ps": [listener]},
        "task": {"type": "ps", "index": 0},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert main.main(["cluster-status"]) == 0
    assert capsys.readouterr().out == f"ps 0 {listener}: answers\n"


def test_a_folder_of_no_job_is_an_error(tmp_path, capsys):
    assert main.main(["cluster-status", str(tmp_path)]) == 1
    assert "there is no" in capsys.readouterr().err
