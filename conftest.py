"""Makes every test run import the installed package, never the source tree.

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
import sys

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


def pytest_configure(config):
    """Stops with the remedy when there is nothing installed to test."""
    del config
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


@pytest.fixture(scope="session")
def repository_root():
    """The folder that holds README.md."""
    return ROOT
