"""Files of the tree, as Git knows them."""

import subprocess

import pytest


@pytest.fixture(scope="session")
def tracked_files(repository_root):
    """Paths of the files that are tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=repository_root,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [repository_root / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file()]
