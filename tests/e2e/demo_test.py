"""Runs a small demo with all of its processes."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import uuid

import pytest

from processes import DEADLINE_SECONDS
from processes import wait_until

DEMO = pathlib.Path(__file__).parents[2] / "examples" / "demo.py"
MARK = "MONOLITH_TF_DEMO_TEST"
SMALL = [
    "--examples=800",
    "--batch_epochs=1",
    "--batch_size=64",
    "--chunk=80",
    "--freshness_rows=20",
]


class Demo:
    """A demo whose descendants can be told by a mark in the environment."""

    def __init__(self, folder: pathlib.Path, *arguments: str):
        self.output_dir = folder / "output"
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        self._mark = f"{MARK}={uuid.uuid4()}"
        name, value = self._mark.split("=")
        with open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, DEMO),
                    f"--output_dir={self.output_dir}",
                    *arguments,
                ],
                stdout=out,
                stderr=err,
                env={**os.environ, name: value},
            )

    def descendants(self) -> dict[int, bytes]:
        """Environments of living processes with the mark, by process id."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if self._mark.encode() in environment.split(b"\0"):
                found[int(folder.name)] = environment
        return found

    def wait(self) -> int:
        try:
            return self.process.wait(DEADLINE_SECONDS)
        finally:
            self.process.kill()

    def wait_for(self, text: str) -> None:
        """Waits until the demo has written a text to its stderr."""
        wait_until(
            lambda: text in self.stderr.read_text(),
            is_alive=lambda: self.process.poll() is None,
        )


def test_a_small_demo_learns_online_reports_and_leaves_no_process(tmp_path):
    demo = Demo(tmp_path, *SMALL)
    assert demo.wait() == 0, demo.stderr.read_text()
    assert demo.descendants() == {}

    output = demo.stdout.read_text()
    assert "AUC of the same requests" in output
    report = json.loads(output.splitlines()[-1])
    assert report["examples"] == {"batch": 400, "online": 400}
    assert report["examples_per_second"]["batch"] > 0
    assert report["examples_per_second"]["online"] > 0
    assert sorted(report["rows"]) == [
        "genre_deep",
        "genre_wide",
        "movie_deep",
        "movie_wide",
        "user_deep",
        "user_wide",
    ]
    assert report["rows"]["movie_deep"] == report["rows"]["movie_wide"] > 100
    assert report["deltas"]["rows"] > 0
    assert report["deltas"]["bytes"] > 0
    assert report["deltas"]["resyncs"] == 0
    freshness = report["freshness"]
    assert freshness["rows"] == 20
    assert 0 < freshness["new_rows"] <= 20
    assert 0 < freshness["p50_seconds"] <= freshness["p99_seconds"]
    for part in report["auc"].values():
        assert 0 < part["live"] < 1
        assert 0 < part["frozen"] < 1
    assert report["auc"]["all"]["requests"] == 400
    assert 0 < report["auc"]["unseen"]["requests"] < 400

    plot = pathlib.Path(report["plot"]).read_bytes()
    assert plot.startswith(b"\x89PNG\r\n\x1a\n")
    assert sorted(
        path.name for path in pathlib.Path(report["logs"]).iterdir()
    ) == [
        "chief.log",
        "frozen-server.log",
        "live-server.log",
        "ps-0.log",
        "ps-1.log",
        "worker-0.log",
        "worker-1.log",
    ]
    # Nothing but the progress bar: no wall of warnings.
    for line in re.split("[\r\n]", demo.stderr.read_text()):
        assert re.match("(start|batch|export|serve|online|done): |$", line)


@pytest.mark.parametrize(
    ("phase", "epochs", "num_processes"),
    [
        ("batch:", 500, 5),
        pytest.param("online:", 1, 7, marks=pytest.mark.soak),
    ],
)
def test_ctrl_c_leaves_no_process_behind(
    tmp_path, phase, epochs, num_processes
):
    demo = Demo(tmp_path, *SMALL, f"--batch_epochs={epochs}")
    demo.wait_for(phase)
    assert len(demo.descendants()) == num_processes
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 130, demo.stderr.read_text()
    assert "interrupted; every process has ended" in demo.stderr.read_text()
    assert demo.descendants() == {}


def test_a_worker_that_dies_ends_the_demo_with_its_name(tmp_path):
    demo = Demo(tmp_path, *SMALL, "--batch_epochs=500")
    demo.wait_for("batch:")
    (worker,) = [
        pid
        for pid, environment in demo.descendants().items()
        if b'"task": {"type": "worker", "index": 1}' in environment
    ]
    os.kill(worker, signal.SIGKILL)
    assert demo.wait() == 1
    message = demo.stderr.read_text()
    assert f"demo: worker 1 (process {worker}) was killed by SIGKILL" in message
    # TensorFlow prints an interrupt that comes while its C++ calls Python.
    interrupted = r"returned a result with an exception set\n"
    message = re.sub(
        f"Traceback.*?SystemError: [^\n]* {interrupted}",
        "",
        message,
        count=1,
        flags=re.DOTALL,
    )
    assert "Traceback" not in message
    assert demo.descendants() == {}


def test_a_malformed_file_ends_the_demo_with_one_line(tmp_path):
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n")
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("userId,movieId,rating,timestamp\n1,2,good,3\n")
    demo = Demo(tmp_path, f"--data={ratings}")
    assert demo.wait() == 1
    assert demo.stderr.read_text() == (
        f"demo: {ratings}, line 2: rating is 'good'; expected a number from 0 "
        "to 5.\n"
    )
    assert list(demo.output_dir.iterdir()) == []


def test_a_used_output_folder_is_refused(tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "auc.png").write_text("of another run")
    demo = Demo(tmp_path, *SMALL)
    assert demo.wait() == 1
    assert "output is not empty; expected a new" in demo.stderr.read_text()
