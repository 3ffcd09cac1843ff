"""`monolith-tf serve` as a process: ready line, ports, signals, exit codes."""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

import processes
from monolith_tf.serving.client import PredictionClient

COMMAND = str(pathlib.Path(sys.executable).with_name("monolith-tf"))
READY = re.compile(r"ready grpc=(\S+)(?: rest=(\S+))? models=(\S+)")

pytestmark = pytest.mark.e2e


@pytest.fixture
def run():
    """Starts the command; kills what is left at the end."""
    processes = []

    def start(*arguments):
        processes.append(
            subprocess.Popen(
                [COMMAND, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ready(process):
    line = process.stdout.readline()
    match = READY.search(line)
    assert match, line + process.stderr.read()
    return match.groups()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_a_signal_and_ends_with_0(write_model, run, number):
    process = run(
        "serve",
        f"--model_base_path={write_model(1, 10)}",
        "--model_name=scale",
        "--port=0",
        "--rest_api_port=0",
    )
    grpc_address, rest_address, names = ready(process)
    assert names == "scale"
    with PredictionClient(grpc_address) as client:
        inputs = {"ids": np.array([1]), "weights": np.zeros((1, 2), "f4")}
        assert client.predict("scale", inputs).outputs["score"] == [10]
    url = f"http://{rest_address}/v1/models/scale"
    assert (
        urllib.request.urlopen(url, timeout=processes.DEADLINE_SECONDS).status
        == 200
    )
    process.send_signal(number)
    _, errors = process.communicate(timeout=processes.DEADLINE_SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "tensorflow" not in errors.lower()


@pytest.mark.parametrize("flag", ["--port", "--rest_api_port"])
def test_a_port_in_use_is_one_line_and_exit_code_1(write_model, run, flag):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        flags = {"--port": 0, "--rest_api_port": 0, flag: port}
        process = run(
            "serve",
            f"scale={write_model(1, 10)}",
            *(f"{name}={value}" for name, value in flags.items()),
        )
        _, errors = process.communicate(timeout=processes.DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in errors
    # TensorFlow 2.21 says something of its own, whatever its log level.
    (line,) = (at for at in errors.splitlines() if "monolith-tf" in at)
    assert f"127.0.0.1:{port} cannot be opened" in line
    assert "Choose another port" in line


def test_the_server_does_not_load_keras(write_model):
    # TensorFlow itself imports Keras 3; ours is tf_keras.
    program = """
import sys
from monolith_tf.serving.server import ModelServer
ModelServer({"scale": sys.argv[1]}, port=0, rest_api_port=0).close()
print(sorted(
    name for name in sys.modules
    if name.split(".")[0] == "tf_keras"
))
"""
    output = processes.run(
        [*processes.PYTHON, "-c", program, write_model(1, 10)]
    ).stdout
    assert output.strip().splitlines()[-1] == "[]"
