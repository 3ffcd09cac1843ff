"""The tree itself: nothing of one machine in it, no file for two nouns."""

from __future__ import annotations

import re
import subprocess

import hypothesis
import pytest

# Written in parts, so that this file does not name what it looks for.
MACHINE_PATHS = re.compile(
    "|".join(
        rf"(?<![\w.]){re.escape('/' + folder)}/"
        for folder in ("home", "root", "opt", "Users", "work", "tmp/plan")
    )
)
REGISTRIES = re.compile("index" + "-url|find" + r"-links|://[^\s/]*py" + "pi")
LONGEST_FILE = 500  # lines


@pytest.fixture(scope="module")
def tracked_files(repository_root):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository_root,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [repository_root / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.exists()]


def text_of(path):
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRIES])
def test_no_file_names_a_path_or_a_registry_of_one_machine(
    tracked_files, repository_root, pattern
):
    found = [
        f"{path.relative_to(repository_root)}:{number}: {line.strip()}"
        for path in tracked_files
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_source_file_is_longer_than_one_noun_needs(tracked_files):
    long = [
        path.name
        for path in tracked_files
        if path.suffix in {".py", ".cc", ".h"}
        and len(text_of(path).splitlines()) > LONGEST_FILE
    ]
    assert not long


def test_hypothesis_draws_the_same_examples_in_every_run(
    tracked_files, repository_root
):
    assert hypothesis.settings.default.derandomize
    random = [
        str(path.relative_to(repository_root))
        for path in tracked_files
        if path.suffix == ".py"
        and re.search(r"derandomize\s*=\s*" + "False", text_of(path))
    ]
    assert not random


def test_the_lock_files_pin_every_version(repository_root):
    for name in ("locked.txt", "newest.txt"):
        lines = (repository_root / "requirements" / name).read_text()
        for line in lines.splitlines():
            assert re.fullmatch(r"#.*|[a-z0-9-]+==[\w.]+", line), line
