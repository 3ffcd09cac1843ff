"""Setup of all tests: the installed package, marks and Hypothesis.

Every test run imports the installed package, never the source tree.

`python -m pytest` (and pytest's own rootdir handling without
`--import-mode=importlib`) puts the root of the repository on `sys.path`. There
`monolith_tf/` is next to `ops/`, `estimators/` and `serving/`, which only the
installation maps into it, so `import monolith_tf` would find a package without
its op library and hide the one that is installed. This file takes the root off
`sys.path` again; no `tests/` folder has an `__init__.py` for the same reason.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
from unittest import mock

import hypothesis
import pytest

ROOT = pathlib.Path(__file__).resolve().parent

sys.path[:] = [
    entry
    for entry in sys.path
    if pathlib.Path(entry or os.getcwd()).resolve() != ROOT
]

# TensorFlow's start-up lines hide what a failing test prints, and programs that
# tests start pass them on. 3: 2.16 logs three of them as errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Git lists the files of the tree; NumPy asks for the processor.
HARMLESS_PROGRAMS = {"git", "lscpu"}

# The one profile of Hypothesis. A seed (`make soak` draws one) turns it random.
PROFILE = {"database": None, "deadline": None, "print_blob": True}


def pytest_configure(config):
    """Stops with the remedy when there is nothing installed to test."""
    is_seeded = config.getoption("--hypothesis-seed") is not None
    hypothesis.settings.register_profile(
        "monolith_tf", derandomize=not is_seeded, **PROFILE
    )
    hypothesis.settings.load_profile("monolith_tf")
    # What a shell script starts in the background ignores Ctrl-C, and so would
    # all that tests start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if importlib.util.find_spec("monolith_tf") is None:
        raise pytest.UsageError(
            f"monolith_tf is not installed for {sys.executable}. Run"
            " `make test`, or install it first: pip install"
            " --no-build-isolation -e ."
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks the tests of tests/e2e, and puts them first.

    They take longest. The last tests of a run are then short, so no processor
    waits long for another.
    """

    def is_elsewhere(item):
        return ROOT / "tests" / "e2e" not in item.path.parents

    items.sort(key=is_elsewhere)
    for item in items:
        if not is_elsewhere(item):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """Refuses processes in tests that lack the mark, fixtures included."""
    del nextitem
    if item.get_closest_marker("e2e"):
        return (yield)
    start = subprocess.Popen.__init__

    def refuse(self, args, *rest, **options):
        program = args if isinstance(args, str) else args[0]
        if program in HARMLESS_PROGRAMS:
            return start(self, args, *rest, **options)
        raise RuntimeError(
            f"{item.nodeid} starts a process without the mark `e2e`. Expected"
            f" @pytest.mark.e2e above it. Received: {args!r}."
        )

    with mock.patch.object(subprocess.Popen, "__init__", refuse):
        return (yield)


@pytest.fixture(scope="session")
def repository_root():
    """The folder that holds README.md."""
    return ROOT
