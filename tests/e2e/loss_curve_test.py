"""One worker with any number of servers learns as one process does."""

import json
import pathlib

import numpy as np
import pytest

import processes

PROGRAM = pathlib.Path(__file__).with_name("loss_curve_program.py")


def report_of(directory, *command, way="fit"):
    report = directory / "report.json"
    processes.run(
        [*processes.PYTHON, *command, PROGRAM, report, way], cwd=directory
    )
    return json.loads(report.read_text())


@pytest.fixture(scope="module")
def of_one_process(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("alone"))


def test_the_model_learns(of_one_process):
    losses = of_one_process["losses"]
    assert len(losses) == 40
    assert losses[-1] < 0.7 * losses[0]


WAYS = {
    "fit": ["--num_workers=1"],
    # The chief trains, and is the only one.
    "estimator": ["--mode=estimator", "--num_workers=0"],
}


@pytest.mark.parametrize(
    ("way", "num_ps"),
    [
        ("fit", 3),
        *(
            pytest.param(way, num_ps, marks=pytest.mark.soak)
            for way, num_ps in (
                ("fit", 1),
                ("fit", 2),
                ("estimator", 1),
                ("estimator", 2),
                ("estimator", 3),
            )
        ),
    ],
)
def test_the_loss_curve_is_that_of_one_process(
    of_one_process, tmp_path, num_ps, way
):
    launch = ["-m", "monolith_tf", "launch", f"--num_ps={num_ps}"]
    launch += [*WAYS[way], f"--log_dir={tmp_path}"]
    found = report_of(tmp_path, *launch, way=way)
    assert len(found["losses"]) == 40
    for name, expected in of_one_process.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)
