"""A role that is stopped is named and restarted, and no other one is."""

import contextlib
import json
import pathlib
import random
import re
import sys
import threading

import process_faults
import pytest

import monolith_tf as mt
from processes import DEADLINE_SECONDS
from processes import LaunchedJob
from processes import wait_until

PROGRAM = pathlib.Path(__file__).with_name("unattended_training_program.py")
STEPS = 40
EPOCHS = 10
ROLES = ("ps 0", "ps 1", "worker 0", "worker 1", "chief 0")


def num_starts(job, role):
    return len(re.findall(rf"{role} started: process", job.text()))


def stop(job, victim):
    """Stops a role, and waits until it is restarted and the job continues."""
    stopped = job.pid(victim)
    process_faults.stop(stopped)
    line = job.read_until(f"{victim} at localhost:")
    assert f"(process {stopped}) is hung, its process is stopped" in line
    # 2 s from its last answer, and the time of a busy machine.
    assert 2.0 <= float(re.search(r"answer (\S+) s ago", line)[1]) < 30.0
    job.read_until(f"killing {victim}: it is hung")
    job.read_until(f"restarting {victim}")
    # Nothing is left that could be resumed.
    assert not pathlib.Path(f"/proc/{stopped}").exists()
    if not victim.startswith("worker"):
        job.read_until("chief 0 started")
        assert int(job.read_until("begins at epoch").split()[-1]) >= 2


@pytest.mark.parametrize(
    ("victims", "restarts"),
    [
        (("ps 1", "chief 0"), {"ps 1": 1, "chief 0": 2}),
        pytest.param(("worker 0",), {"worker 0": 1}, marks=pytest.mark.soak),
    ],
)
def test_training_is_exact_though_roles_are_stopped(
    tmp_path, victims, restarts
):
    moments = random.Random(str(victims))
    flags = ["--num_ps=2", "--num_workers=2", "--heartbeat_timeout_seconds=2"]
    job = LaunchedJob(tmp_path, *flags, PROGRAM, tmp_path, EPOCHS)
    try:
        # A checkpoint is there.
        job.read_until("epoch 2 done")
        for victim in victims:
            threading.Event().wait(moments.uniform(0.0, 1.0))
            stop(job, victim)
        (tmp_path / "may_end").touch()
        job.finish()
    finally:
        job.close()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["right"] == 1.0
    assert report["rows"] == 64
    # A step that a worker had not finished runs again.
    repeated = int("worker 0" in victims)
    assert 0 <= report["steps"] - EPOCHS * STEPS <= repeated
    found = {role: num_starts(job, role) - 1 for role in ROLES}
    assert {role: n for role, n in found.items() if n} == restarts


def test_without_a_launcher_the_chief_ends_for_a_server_that_is_stopped(
    tmp_path,
):
    ports = iter(mt.cluster.pick_free_ports(4))
    cluster = {
        role: [f"localhost:{next(ports)}" for _ in range(count)]
        for role, count in (("chief", 1), ("worker", 1), ("ps", 2))
    }
    serve = [sys.executable, "-P", "-m", "monolith_tf.cluster"]
    train = [sys.executable, str(PROGRAM), str(tmp_path), str(EPOCHS)]

    def start(role, index, command):
        config = {"cluster": cluster, "task": {"type": role, "index": index}}
        return stack.enter_context(
            mt.cluster.ChildProcess(
                f"{role} {index}",
                command,
                tmp_path / f"{role}-{index}.log",
                {
                    "TF_CONFIG": json.dumps(config),
                    "GRPC_FAIL_FAST": "use_caller",
                    "PYTHONUNBUFFERED": "1",
                },
            )
        )

    with contextlib.ExitStack() as stack:
        servers = [
            start(role, index, serve)
            for role in ("worker", "ps")
            for index in range(len(cluster[role]))
        ]
        chief = start("chief", 0, train)
        log = tmp_path / "chief-0.log"
        wait_until(lambda: "epoch 2 done" in log.read_text(), chief.is_running)
        with process_faults.stopped(servers[-1].pid):
            assert chief.wait(DEADLINE_SECONDS) == 75
        assert all(server.is_running() for server in servers)
    (line,) = re.findall("monolith-tf: .*", log.read_text())
    assert "the chief exits with code 75 to be restarted: ps 1 at " in line
    assert "is hung, the connection opens, and nothing answers" in line
