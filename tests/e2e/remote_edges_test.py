"""The number of edges to a server does not depend on the tables."""

import json
import pathlib

import pytest

import processes


@pytest.fixture(scope="module")
def report():
    program = pathlib.Path(__file__).with_name("remote_edges_program.py")
    output = processes.run([*processes.PYTHON, program]).stdout
    return json.loads(output.splitlines()[-1])


READS = ["directly", "in_a_function", "in_a_branch"]


@pytest.mark.parametrize("num_tables", ["1", "5"])
@pytest.mark.parametrize("read", READS)
def test_a_step_is_right_on_another_device(report, read, num_tables):
    # Rows are ones, and so are the gradients; 4 stands there twice.
    assert report[read][num_tables]["rows"] == [[-1, -1], [0, 0], [1, 1]]


@pytest.mark.parametrize("num_tables", ["1", "5"])
def test_a_server_sees_five_edges_whatever_the_number_of_tables(
    report, num_tables
):
    server = report["directly"][num_tables]["server"]
    assert server["MonolithLookup"] == server["MonolithApply"] == 1
    # Ids; then ids, counts and gradients of the update.
    assert server["_Recv"] == 3
    # Rows, and that the update is done.
    assert server["_Send"] == 2
    # No variable of a table is read, nor its handle.
    assert "ReadVariableOp" not in server
    assert server["_Arg"] == 1


@pytest.mark.parametrize("read", READS)
def test_nothing_of_a_table_runs_but_its_ops(report, read):
    few, many = (report[read][number] for number in ("1", "5"))
    for device in ("worker", "server"):
        assert "MonolithAttach" not in many[device]
    assert few["server"]["_Send"] == many["server"]["_Send"]
    assert few["server"]["_Recv"] == many["server"]["_Recv"]


DTYPES = ["float32", "bfloat16"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_features", ["26", "52"])
def test_five_edges_a_server_of_two(report, num_features, dtype):
    for server in report["two servers"][dtype][num_features]:
        assert server["edges"] == {"to": 3, "from": 2}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_features", ["26", "52"])
def test_what_crosses_is_ids_and_rows_once_each_way(
    report, num_features, dtype
):
    features = int(num_features)
    servers = report["two servers"][dtype][num_features]
    floats = 100 * features * 16
    size = 4 if dtype == "float32" else 2
    assert sum(server["bytes"]["from"] for server in servers) == floats * size
    # Both calls: the ids, and per server the lengths of the tables. The update
    # also has its step, time, and the occurrences of each id, and a learning
    # rate a table.
    ids = 8 * 100 * features
    to = sum(server["bytes"]["to"] for server in servers)
    expected = 2 * ids + floats * size + 2 * 4 * features
    assert expected <= to <= expected + ids + 2 * 8 * (2 * features + 4)
    for server in servers:
        assert server["bytes"]["from"] > 0.4 * floats * size
