"""Jobs of processes that come, go and die."""

import json
import logging
import pathlib
import signal
import threading
import time

import process_faults
import pytest

import monolith_tf as mt
import processes
from processes import wait_until

PROGRAM = str(pathlib.Path(__file__).with_name("job_program.py"))

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def log(caplog):
    caplog.set_level(logging.INFO, "monolith_tf.launch")
    return caplog


def run(directory, *actions, **options):
    """Runs a job of the program; returns its code and what the chief said."""
    state = directory / "state"
    state.mkdir()
    said = []
    job = mt.cluster.Job(
        [PROGRAM, str(state), *actions],
        **{"mode": "estimator", **options},
        log_directory=directory / "logs",
        on_output=said.append,
    )
    return job.run(), "".join(said)


def starts(directory, role):
    """The cluster that a role was given at each of its starts."""
    lines = (directory / "state" / role).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_every_role_gets_its_place_and_a_log_of_its_own(tmp_path):
    code, said = run(tmp_path, num_ps=2, num_workers=2, evaluator=True)
    assert code == 0
    assert said == "start 1 of chief-0: end\n"
    roles = ["chief-0", "evaluator-0", "ps-0", "ps-1", "worker-0", "worker-1"]
    logs = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert logs == sorted([*(f"{role}.log" for role in roles), "cluster.json"])
    clusters = [starts(tmp_path, role) for role in roles]
    assert clusters.count(clusters[0]) == len(roles)
    (cluster,) = clusters[0]
    ports = [address for of_role in cluster.values() for address in of_role]
    assert len(set(ports)) == 5


@pytest.mark.parametrize("role", ["worker-0", "ps-0", "chief-0"])
def test_a_role_that_is_killed_is_started_again_alone(tmp_path, log, role):
    last = "serve" if role == "ps-0" else "end"
    # The chief's end would end the job before another came back.
    chief = [] if role == "chief-0" else [f"chief-0:after={role}*2"]
    code, _ = run(tmp_path, f"{role}:kill", f"{role}:{last}", *chief)
    assert code == 0
    name = role.replace("-", " ")
    assert f"restarting {name}: restart 1 of at most 10" in log.text
    assert f"{name} (process" in log.text
    assert len(starts(tmp_path, role)) == 2
    assert len({json.dumps(c) for c in starts(tmp_path, role)}) == 1


def test_a_program_that_fails_by_itself_ends_the_job_with_its_code(
    tmp_path, log
):
    code, _ = run(tmp_path, "chief-0:exit=3", "worker-0:serve")
    assert code == 3
    assert "chief 0 failed with exit code 3; stopping" in log.text
    # The end of the log of who failed.
    assert "start 1 of chief-0: exit=3" in log.text
    assert len(starts(tmp_path, "chief-0")) == 1


def test_a_program_may_fail_for_a_dead_server_but_not_again_by_itself(
    tmp_path, log
):
    code, _ = run(
        tmp_path,
        *("ps-0:kill", "ps-0:serve", "worker-0:serve"),
        *("chief-0:fail_after=ps-0*2", "chief-0:exit=3"),
    )
    assert code == 3
    assert "restarting chief 0: restart 1 of at most 10" in log.text
    assert "chief 0 failed with exit code 3; stopping" in log.text
    assert len(starts(tmp_path, "chief-0")) == 2


def test_restarts_end_at_the_limit(tmp_path, log):
    code, said = run(
        tmp_path, "chief-0:exit=75", "worker-0:serve", max_restarts=2
    )
    assert code == 75
    assert said.count("of chief-0") == 3
    assert "chief 0 died after 2 restarts per hour (--max_re" in log.text


def test_a_worker_that_dies_too_often_is_left_out(tmp_path, log, monkeypatch):
    # A worker that serves for ever is ended some time after the chief.
    monkeypatch.setattr(mt.cluster.job, "_FINISH_SECONDS", 0.0)
    # The chief is a shell that waits until the worker had its last start.
    state = tmp_path / "state"
    waits = tmp_path / "waits.py"
    waits.write_text(
        "import json, os, runpy, sys, time\n"
        "if json.loads(os.environ['TF_CONFIG'])['task']['type'] == 'chief':\n"
        f"    path = {str(tmp_path / 'gone')!r}\n"
        "    while not os.path.exists(path): time.sleep(0.01)\n"
        "else:\n"
        f"    runpy.run_path({PROGRAM!r}, run_name='__main__')\n"
    )
    state.mkdir()

    class Gone(logging.Handler):
        def emit(self, record):
            if "is left out" in record.getMessage():
                (tmp_path / "gone").touch()

    handler = Gone()
    logging.getLogger("monolith_tf.launch").addHandler(handler)
    try:
        code = mt.cluster.Job(
            [str(waits), str(state), "worker-0:kill", "worker-1:serve"],
            num_workers=2,
            mode="estimator",
            max_restarts=1,
            log_directory=tmp_path / "logs",
        ).run()
    finally:
        logging.getLogger("monolith_tf.launch").removeHandler(handler)
    assert code == 0
    assert len(starts(tmp_path, "worker-0")) == 2
    assert "training continues without it" in log.text


# A chief that kills its server and ends before anybody can look: at its first
# start with a code, then well.
CHIEF_WITH_ITS_SERVER = """
import json, os, pathlib, signal, sys, time

def tasks():
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (process / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) != os.getppid():
                continue
            text = (process / "environ").read_text()
        except OSError:
            continue
        for variable in text.split(chr(0)):
            name, _, value = variable.partition("=")
            if name == "TF_CONFIG":
                yield int(process.name), json.loads(value)["task"]["type"]

state = pathlib.Path(sys.argv[1])
code = int(sys.argv[2])
print("start", flush=True)
if not state.exists():
    state.touch()
    (server,) = [pid for pid, role in tasks() if role == "ps"]
    os.kill(server, signal.SIGKILL)
    # Large processes take their time; then the launcher takes it away.
    stat = pathlib.Path("/proc", str(server), "stat")
    try:
        while ") Z " not in stat.read_text():
            time.sleep(0.01)
    except OSError:
        pass
    os._exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("code", "num_starts"), [(75, 2), (0, 1)])
def test_a_chief_that_ends_with_its_server_is_started_again_unless_it_is_done(
    tmp_path, log, code, num_starts
):
    program = tmp_path / "chief.py"
    program.write_text(CHIEF_WITH_ITS_SERVER)
    said = []
    job = mt.cluster.Job(
        [str(program), str(tmp_path / "state"), str(code)],
        log_directory=tmp_path / "logs",
        max_restarts=1,
        on_output=said.append,
    )
    assert job.run() == 0
    assert "".join(said) == "start\n" * num_starts
    if num_starts > 1:
        assert "restarting ps 0 and the chief: restart 1 of" in log.text
        # A chief needs all workers that it was told.
        assert "restarting worker" not in log.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_processes(tmp_path, number):
    state = tmp_path / "state"
    state.mkdir()
    arguments = [PROGRAM, state, "chief-0:serve", "worker-0:serve"]
    job = processes.LaunchedJob(tmp_path, "--mode=estimator", *arguments)
    try:
        job.read_until("start 1 of chief-0: serve")
        job.process.send_signal(number)
        job.finish(code=128 + number)
    finally:
        job.close()
    pids = [
        int(line.rsplit(" ", 1)[1])
        for line in job.lines
        if "started: process" in line
    ]
    assert len(pids) == 3
    for pid in pids:
        assert not pathlib.Path(f"/proc/{pid}").exists()


def start_job(directory, *flags_and_actions):
    """Launches the program; flags begin with --, the rest are actions."""
    state = directory / "state"
    state.mkdir()
    flags = [one for one in flags_and_actions if one.startswith("--")]
    actions = [one for one in flags_and_actions if not one.startswith("--")]
    return processes.LaunchedJob(
        directory, "--mode=estimator", *flags, PROGRAM, state, *actions
    )


def test_after_sigterm_the_chief_leaves_before_the_others(tmp_path):
    job = start_job(tmp_path, "chief-0:drain", "worker-0:serve", "ps-0:outlive")
    try:
        job.read_until("start 1 of chief-0: drain")
        job.process.terminate()
        job.finish(code=128 + signal.SIGTERM)
    finally:
        job.close()
    assert "SIGTERM: chief 0 has 25 s to leave (--drain_seconds)" in job.text()
    assert "has not left" not in job.text()
    log = (tmp_path / "logs" / "ps-0.log").read_text()
    assert "the chief left first: True" in log


def test_a_chief_that_does_not_leave_is_killed_after_its_time(tmp_path):
    job = start_job(
        tmp_path, "--drain_seconds=0.2", "chief-0:deaf", "worker-0:serve"
    )
    try:
        job.read_until("start 1 of chief-0: deaf")
        job.process.terminate()
        job.finish(code=128 + signal.SIGTERM)
    finally:
        job.close()
    assert "chief 0 has not left" in job.text()


def test_a_second_signal_ends_the_time_of_the_chief(tmp_path):
    job = start_job(
        tmp_path, "--drain_seconds=10000", "chief-0:deaf", "worker-0:serve"
    )
    try:
        job.read_until("start 1 of chief-0: deaf")
        job.process.terminate()
        job.read_until("chief 0 has 10000 s to leave")
        job.process.send_signal(signal.SIGINT)
        job.finish(code=128 + signal.SIGTERM)
    finally:
        job.close()


def test_sigterm_is_answered_while_the_chief_waits_for_the_servers(tmp_path):
    # It never serves, so the wait would take two minutes.
    (tmp_path / "never.py").write_text("import signal\nsignal.pause()\n")
    program = tmp_path / "chief.py"
    program.write_text("print('the chief runs')\n")
    job = processes.LaunchedJob(
        tmp_path,
        "--import_module=never",
        program,
        environment={"PYTHONPATH": str(tmp_path)},
    )
    try:
        job.read_until("worker 0 started")
        begin = time.monotonic()
        job.process.terminate()
        job.finish(code=128 + signal.SIGTERM)
        assert time.monotonic() - begin < 60.0
    finally:
        job.close()
    assert "the chief runs" not in job.text()


@pytest.mark.parametrize("role", ["worker 0", "ps 0", "chief 0"])
def test_a_stopped_role_is_named_killed_and_started_again(tmp_path, role):
    name = role.replace(" ", "-")
    job = start_job(
        tmp_path,
        "--heartbeat_timeout_seconds=1",
        *("chief-0:serve", "worker-0:serve"),
    )
    try:
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
    finally:
        job.close()


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


def test_a_chief_whose_step_does_not_move_is_started_again(tmp_path):
    program = tmp_path / "chief.py"
    program.write_text(
        "import json, os, signal\n"
        "if json.loads(os.environ['TF_CONFIG'])['task']['type'] == 'ps':\n"
        "    signal.pause()\n"
        "from monolith_tf.cluster import report_step\n"
        "report_step(41)\n"
        "print('reported', flush=True)\n"
        f"if os.path.exists({str(tmp_path / 'once')!r}):\n"
        "    raise SystemExit(0)\n"
        f"open({str(tmp_path / 'once')!r}, 'w').close()\n"
        "signal.pause()\n"
    )
    job = processes.LaunchedJob(
        tmp_path,
        *("--mode=estimator", "--num_workers=0"),
        *("--progress_timeout_seconds=1", program),
    )
    try:
        job.read_until("reported")
        line = job.read_until("killing chief 0: it is hung: no step in")
        assert "last known step 41" in line
        assert "(--progress_timeout_seconds)" in line
        job.read_until("restarting chief 0: restart 1")
        job.finish()
    finally:
        job.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_ps": 0}, "num_ps of at least 1. Received: num_ps=0"),
        ({"num_workers": 0}, "num_workers of at least 1. Received: num_wo"),
        (
            {"heartbeat_timeout_seconds": -1.0},
            "heartbeat_timeout_seconds of at least 0. Received: heartbeat_",
        ),
        (
            {"progress_timeout_seconds": -1.0},
            "progress_timeout_seconds of at least 0. Received: progress_",
        ),
        ({"drain_seconds": -1.0}, "drain_seconds of at least 0. Received: dr"),
        ({"max_restarts": -1}, "max_restarts of at least 0. Received: max_"),
        ({"mode": "jax"}, "mode 'keras' or 'estimator'. Received: 'jax'"),
        ({"evaluator": True}, "runs an evaluator in mode 'estimator' only"),
        (
            {"mode": "estimator", "modules": ["ops"]},
            "every role runs the program: import them in it",
        ),
        ({"command": []}, "needs a command. Received: an empty one"),
        (
            {"command": ["none.py"]},
            "needs a program. Received: 'none.py', which",
        ),
    ],
)
def test_a_wrong_job_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        mt.cluster.Job(**{"command": [PROGRAM], **arguments})


@pytest.mark.slow
def test_workers_and_servers_import_what_the_command_line_names(
    tmp_path, monkeypatch
):
    (tmp_path / "their_ops.py").write_text(
        "import json, os, pathlib\n"
        "task = json.loads(os.environ['TF_CONFIG'])['task']\n"
        f"pathlib.Path({str(tmp_path)!r}, task['type'] + '.here').touch()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = tmp_path / "chief.py"
    # It runs when all others serve.
    program.write_text(
        "import pathlib\n"
        f"found = pathlib.Path({str(tmp_path)!r}).glob('*.here')\n"
        "print(sorted(path.stem for path in found))\n"
    )
    done = processes.run(
        [
            *(*processes.MONOLITH_TF, "launch", "--import_module=their_ops"),
            *(f"--log_dir={tmp_path / 'logs'}", program),
        ]
    )
    assert done.stdout == "['ps', 'worker']\n"


def test_the_command_line_passes_flags_on(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    done = processes.run(
        [
            *(*processes.MONOLITH_TF, "launch", "--mode=estimator"),
            *("--num_ps=1", "--num_workers=1"),
            *("--log_dir", tmp_path / "logs"),
            *(PROGRAM, state, "chief-0:exit=9"),
        ],
        code=9,
    )
    assert done.stdout == "start 1 of chief-0: exit=9\n"
