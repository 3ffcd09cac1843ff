"""Jobs in the background that end with their test."""

import pathlib

import pytest

from processes import LaunchedJob

PROGRAM = pathlib.Path(__file__).with_name("job_program.py")


@pytest.fixture
def launch(tmp_path):
    """Launches a program with flags before it; see `LaunchedJob`."""
    jobs = []

    def launch_job(*flags_and_program, **options):
        jobs.append(LaunchedJob(tmp_path, *flags_and_program, **options))
        return jobs[-1]

    yield launch_job
    for job in jobs:
        job.close()


@pytest.fixture
def start_job(launch, tmp_path):
    """Launches `job_program.py`: flags begin with --, the rest are actions."""

    def start(*flags_and_actions):
        state = tmp_path / "state"
        state.mkdir()
        flags = [one for one in flags_and_actions if one.startswith("--")]
        actions = [one for one in flags_and_actions if one not in flags]
        return launch("--mode=estimator", *flags, PROGRAM, state, *actions)

    return start
