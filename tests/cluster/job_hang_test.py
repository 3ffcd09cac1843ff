"""Processes of a job that hang are found, named and restarted."""

import pathlib
import threading

import process_faults
import pytest

import monolith_tf as mt
from processes import wait_until

PROGRAM = str(pathlib.Path(__file__).with_name("job_program.py"))

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("role", ["worker 0", "ps 0", "chief 0"])
def test_a_stopped_role_is_named_killed_and_started_again(
    tmp_path, role, start_job
):
    name = role.replace(" ", "-")
    job = start_job(
        "--heartbeat_timeout_seconds=1",
        *("chief-0:serve", "worker-0:serve"),
    )
    job.read_until("start 1 of chief-0: serve")
    wait_until((tmp_path / "state" / name).exists)
    pid = job.pid(role)
    process_faults.stop(pid)
    line = job.read_until("is hung")
    assert f"{role} " in line
    assert f"(process {pid}) is hung, its process is stopped" in line
    job.read_until(f"killing {role}: it is hung, and has to answer within")
    job.read_until(f"restarting {role}: restart 1 of at most 10 per hour")
    job.read_until(f"{role} started: process")
    assert job.pid(role) != pid
    # It is gone: nothing is left that could be resumed.
    assert not pathlib.Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, set()),
        (
            5.0,
            {
                "heartbeats of chief 0",
                "heartbeats of ps 0",
                "heartbeats of worker 0",
            },
        ),
    ],
)
def test_heartbeats_of_all_roles_run_unless_they_are_off(
    tmp_path, monkeypatch, seconds, expected
):
    monkeypatch.setattr(mt.cluster.job, "_FINISH_SECONDS", 0.0)
    threads = set()

    def look(text):
        threads.update(one.name for one in threading.enumerate())

    state = tmp_path / "state"
    state.mkdir()
    job = mt.cluster.Job(
        [PROGRAM, str(state), "worker-0:serve"],
        mode="estimator",
        heartbeat_timeout_seconds=seconds,
        log_directory=tmp_path / "logs",
        on_output=look,
    )
    assert job.run() == 0
    assert {one for one in threads if one.startswith("heart")} == expected
    left = {one.name for one in threading.enumerate()}
    assert not {one for one in left if one.startswith("heart")}


def test_a_chief_whose_step_does_not_move_is_started_again(tmp_path, launch):
    program = tmp_path / "chief.py"
    program.write_text(
        "import json, os, signal\n"
        "if json.loads(os.environ['TF_CONFIG'])['task']['type'] == 'ps':\n"
        "    signal.pause()\n"
        "from monolith_tf.cluster import report_step\n"
        "report_step(41)\n"
        "print('reported', flush=True)\n"
        f"if os.path.exists({str(tmp_path / 'once')!r}):\n"
        "    os._exit(0)\n"
        f"open({str(tmp_path / 'once')!r}, 'w').close()\n"
        "signal.pause()\n"
    )
    job = launch(
        *("--mode=estimator", "--num_workers=0"),
        *("--progress_timeout_seconds=1", program),
    )
    job.read_until("reported")
    line = job.read_until("killing chief 0: it is hung: no step in")
    assert "last known step 41" in line
    assert "(--progress_timeout_seconds)" in line
    job.read_until("restarting chief 0: restart 1")
    job.finish()
