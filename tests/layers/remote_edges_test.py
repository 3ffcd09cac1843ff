"""What crosses to a server in a step does not depend on the tables."""

import json
import pathlib
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def report():
    program = pathlib.Path(__file__).with_name("remote_edges_program.py")
    output = subprocess.run(
        [sys.executable, str(program)],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout
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
