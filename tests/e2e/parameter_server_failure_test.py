"""A parameter server is killed with -9 and comes back with nothing."""

import json
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.e2e

PROGRAM = pathlib.Path(__file__).with_name(
    "parameter_server_failure_program.py"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What the program saw before, while the server was away, and after."""
    path = tmp_path_factory.mktemp("failure") / "report.json"
    result = subprocess.run(
        [sys.executable, str(PROGRAM), str(path)],
        # Not the root, where `python -m` would find the source tree.
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-5000:]
    return json.loads(path.read_text())


def test_rows_are_read_while_both_servers_live(report):
    assert report["before"] == [{"value": [1.0] * 20}] * 2


@pytest.mark.parametrize("reader", [0, 1], ids=["worker", "chief"])
def test_a_lookup_fails_while_the_server_is_away(report, reader):
    assert report["away"][reader]["error"] == "UnavailableError"
    assert "/job:ps/replica:0/task:1" in report["away"][reader]["message"]


@pytest.mark.parametrize("reader", [0, 1], ids=["worker", "chief"])
def test_a_lookup_fails_when_the_server_is_back(report, reader):
    # TensorFlow's runtime refuses first: the server does not know the client.
    assert report["back"][reader]["error"] in (
        "AbortedError",
        "UnavailableError",
        "FailedPreconditionError",
    )


def test_the_rows_of_the_other_server_are_still_there(report):
    rows = report["other_server"]["value"]
    assert len(rows) > 5
    assert rows == [[1.0]] * len(rows)


@pytest.mark.parametrize("what", ["connected", "connected_apply"])
def test_the_new_server_refuses_by_the_names_of_table_set_and_server(
    report, what
):
    assert report[what]["error"] == "FailedPreconditionError"
    message = report[what]["message"]
    assert f"Table set '{report['table_set']}' does not exist" in message
    assert "on server /job:ps/replica:0/task:1" in message
    assert "restore the last checkpoint" in message
