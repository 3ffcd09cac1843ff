"""Tests of child processes that never outlive their parent."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from monolith_tf import cluster
from processes import DEADLINE_SECONDS
from processes import wait_until

pytestmark = pytest.mark.e2e

FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]
DEAF = [
    sys.executable,
    "-c",
    "import signal\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('deaf', flush=True)\n"
    "while True: signal.pause()",
]
LISTENER = (
    "import signal, socket\n"
    "listener = socket.socket()\n"
    "listener.bind(('localhost', {port}))\n"
    "listener.listen()\n"
    "signal.pause()"
)
# A parent that starts a child, says which, and then does what it is told.
PARENT = """
import signal, sys
from monolith_tf import cluster
child = cluster.ChildProcess("child", {command!r}, {log!r})
print(child.pid, flush=True)
with child:
    sys.stdin.readline()
    {then}
"""


def is_alive(pid: int) -> bool:
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def start_parent(tmp_path, then: str) -> tuple[subprocess.Popen, int]:
    code = PARENT.format(
        command=FOREVER, log=str(tmp_path / "child.log"), then=then
    )
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    child_pid = int(parent.stdout.readline())
    assert is_alive(child_pid)
    return parent, child_pid


def test_output_goes_to_the_log_and_the_exit_code_comes_back(tmp_path):
    log = tmp_path / "hello.log"
    command = ["sh", "-c", "echo out; echo err >&2; echo $WORD; exit 3"]
    with cluster.ChildProcess(
        "hello", command, log, {"WORD": "added"}
    ) as child:
        assert child.wait(timeout_seconds=DEADLINE_SECONDS) == 3
    assert log.read_text().split() == ["out", "err", "added"]


def test_a_dead_child_is_reported_with_the_end_of_its_log(tmp_path):
    script = "for i in $(seq 100); do echo line $i; done; exit 7"
    log = tmp_path / "it.log"
    with cluster.ChildProcess("worker 0", ["sh", "-c", script], log) as it:
        it.wait(timeout_seconds=DEADLINE_SECONDS)
        with pytest.raises(cluster.ProcessError) as caught:
            it.check()
    message = str(caught.value)
    assert "worker 0 (process" in message
    assert "exited with code 7; expected it to run" in message
    assert str(log) in message
    assert "line 81\n" in message
    assert message.endswith("line 100")
    assert "line 80\n" not in message


def test_a_killed_child_is_reported_with_the_signal(tmp_path):
    with cluster.ChildProcess("ps 1", FOREVER, tmp_path / "log") as child:
        child.check()
        os.kill(child.pid, signal.SIGKILL)
        child.wait(timeout_seconds=DEADLINE_SECONDS)
        with pytest.raises(
            cluster.ProcessError, match="ps 1 .* was killed by SIGKILL"
        ):
            child.check()


def test_waiting_for_a_child_that_goes_on_ends_in_time(tmp_path):
    with cluster.ChildProcess("slow", FOREVER, tmp_path / "log") as child:
        with pytest.raises(
            cluster.ProcessError, match=r"slow still runs after 0\.1 s"
        ):
            child.wait(timeout_seconds=0.1)


def test_a_listening_child_is_reachable(tmp_path):
    (port,) = cluster.pick_free_ports(1)
    command = [sys.executable, "-c", LISTENER.format(port=port)]
    with cluster.ChildProcess("listener", command, tmp_path / "l") as child:
        child.wait_until_reachable(port, DEADLINE_SECONDS)


def test_a_child_that_never_listens_is_reported(tmp_path):
    (port,) = cluster.pick_free_ports(1)
    with cluster.ChildProcess("mute", FOREVER, tmp_path / "log") as child:
        with pytest.raises(
            cluster.ProcessError,
            match=rf"mute .* does not answer on port {port} .* is empty",
        ):
            child.wait_until_reachable(port, 0.1)


def test_a_child_that_dies_before_it_listens_is_reported_at_once(tmp_path):
    (port,) = cluster.pick_free_ports(1)
    command = ["sh", "-c", "echo no such table; exit 1"]
    with cluster.ChildProcess("dead", command, tmp_path / "log") as child:
        with pytest.raises(
            cluster.ProcessError, match="(?s)exited with code 1.*no such t"
        ):
            child.wait_until_reachable(port, DEADLINE_SECONDS)


def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path):
    log = tmp_path / "log"
    with cluster.ChildProcess("deaf", DEAF, log) as child:
        wait_until(lambda: "deaf" in log.read_text())
        child.stop(grace_seconds=0.1)
        assert child.wait() == -signal.SIGKILL
        child.stop()


def test_a_missing_program_is_named_in_the_log(tmp_path):
    with cluster.ChildProcess("x", ["no-such-program"], tmp_path / "l") as x:
        x.wait(timeout_seconds=DEADLINE_SECONDS)
        with pytest.raises(cluster.ProcessError, match="No such file"):
            x.check()


def test_free_ports_are_distinct():
    ports = cluster.pick_free_ports(20)
    assert len(set(ports)) == 20


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_of_a_killed_parent_ends(tmp_path, number):
    parent, child_pid = start_parent(tmp_path, then="pass")
    parent.send_signal(number)
    assert parent.wait(DEADLINE_SECONDS) == -number
    wait_until(lambda: not is_alive(child_pid))


@pytest.mark.parametrize("then", ["raise ValueError('broken')", "pass"])
def test_the_child_of_a_parent_that_leaves_the_block_ends(tmp_path, then):
    parent, child_pid = start_parent(tmp_path, then=then)
    parent.stdin.close()
    parent.wait(DEADLINE_SECONDS)
    assert not is_alive(child_pid)


def test_ctrl_c_in_the_parent_ends_the_child(tmp_path):
    parent, child_pid = start_parent(tmp_path, then="pass")
    parent.send_signal(signal.SIGINT)
    parent.wait(DEADLINE_SECONDS)
    assert not is_alive(child_pid)
