"""Installs as README.md says, from nothing, and runs its first program.

`make test-install` runs it for each TensorFlow that README names. It takes
minutes and downloads gigabytes that pip's cache keeps, so pytest does not
collect this file unless it is named.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

README = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
LINES = re.search(
    r"^```\n(pip install tensorflow.*?)^```", README, re.MULTILINE | re.DOTALL
)[1]
PROGRAM = re.search(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[
    1
]


def lines_of_readme():
    """The lines as they are, and with what a comment offers instead."""
    first, *others = LINES.splitlines()
    command, _, alternative = first.partition("# or ")
    return {
        re.search(r"tensorflow==([\d.]+)", packages)[1]: "\n".join(
            [f"pip install {packages}", *others]
        )
        for packages in (command.removeprefix("pip install "), alternative)
    }


def clone(repository_root, folder):
    """Copies what a clone has: no objects and no op library."""
    listed = subprocess.run(
        ["git", "ls-files"],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(repository_root / name, target)


@pytest.fixture
def folder():
    # Deleted at once; pytest would keep gigabytes of the last runs.
    with tempfile.TemporaryDirectory(prefix="monolith-tf-install-") as name:
        yield pathlib.Path(name)


def shell(script, folder):
    """Runs lines as a user pastes them into a shell."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "VIRTUAL_ENV", "MONOLITH_TF_PYTHON"}
    }
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize(("version", "lines"), lines_of_readme().items())
def test_the_lines_of_the_readme_install_what_runs_its_program(
    repository_root, folder, version, lines
):
    clone(repository_root, folder / "clone")
    shell(f"{sys.executable} -m venv v", folder)
    activate = f". {folder}/v/bin/activate\n"
    shell(f"{activate}{lines}", folder / "clone")

    installed = shell(f"{activate}pip list --format=freeze", folder)
    assert f"tensorflow=={version}\n" in installed
    assert "No broken requirements" in shell(f"{activate}pip check", folder)

    (folder / "program.py").write_text(PROGRAM)
    shell(f"{activate}python program.py", folder)
    assert list(folder.glob("export/*/saved_model.pb"))
