"""Jobs of processes that come, go and die."""

import json
import logging
import pathlib

import pytest

import monolith_tf as mt
import processes

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


# A chief whose port is open, as that of a strategy, and that never ends; at its
# second start it does.
CONNECTED_CHIEF = """
import json, os, pathlib, signal, socket, sys
state = pathlib.Path(sys.argv[1])
if state.exists():
    raise SystemExit(0)
state.touch()
(address,) = json.loads(os.environ["TF_CONFIG"])["cluster"]["chief"]
listener = socket.socket()
listener.bind(("localhost", int(address.rpartition(":")[2])))
listener.listen()
print("connected", flush=True)
signal.pause()
"""


@pytest.mark.slow
def test_a_chief_that_does_not_notice_its_dead_server_is_killed(
    tmp_path, log, monkeypatch
):
    monkeypatch.setattr(mt.cluster.job, "_CHIEF_SECONDS", 0.5)
    program = tmp_path / "chief.py"
    program.write_text(CONNECTED_CHIEF)

    def kill_server(text):
        if "connected" in text:
            job._children[("ps", 0)].kill()

    job = mt.cluster.Job(
        [str(program), str(tmp_path / "state")],
        # The listener of this chief answers none.
        heartbeat_timeout_seconds=0,
        log_directory=tmp_path / "logs",
        # The end of the chief is not a restart of its own.
        max_restarts=1,
        on_output=kill_server,
    )
    assert job.run() == 0
    assert "restarting ps 0 and the chief: restart 1 of at most 1" in log.text
    assert "killing chief 0: it still runs 0.5 s after its server" in log.text
    assert "restarting chief 0" not in log.text
    assert log.text.count("chief 0 started") == 2
    assert log.text.count("worker 0 started") == 1


@pytest.mark.slow
def test_a_server_that_never_serves_is_killed_and_named(
    tmp_path, log, monkeypatch
):
    monkeypatch.setattr(mt.cluster.job, "_START_SECONDS", 0.0)
    program = tmp_path / "chief.py"
    program.write_text("")
    job = mt.cluster.Job(
        [str(program)], log_directory=tmp_path / "logs", max_restarts=0
    )
    assert job.run() == 1
    assert "ps 0 (process" in log.text
    assert "does not answer on port" in log.text
    assert "killing ps 0: it does not serve" in log.text
    assert "ps 0 died after 0 restarts per hour (--max_restarts)" in log.text


@pytest.mark.slow
def test_a_worker_that_was_left_out_is_back_when_the_chief_restarts(
    tmp_path, launch
):
    program = tmp_path / "chief.py"
    program.write_text(
        "import signal\nprint('it runs', flush=True)\nsignal.pause()\n"
    )
    job = launch("--num_workers=2", "--max_restarts=1", program)
    job.read_until("it runs")
    for last_words in ("restarting worker 0", "worker 0 is left out"):
        job.kill("worker 0")
        job.read_until(last_words)
        if "left out" not in last_words:
            job.read_until("worker 0 started")
    job.kill("chief 0")
    job.read_until("restarting chief 0: restart 1 of at most 1 per hour")
    job.read_until("worker 0 started")
    job.read_until("chief 0 started")


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
