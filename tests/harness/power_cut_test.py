"""The shim forgets what was not synced, and only that."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest
from power_cut import PowerCut

import processes

pytestmark = pytest.mark.e2e

SYNC_FOLDER = """
def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)

def write(path, text, is_synced=True, mode="w"):
    with open(path, mode) as file:
        file.write(text)
        file.flush()
        if is_synced:
            os.fsync(file.fileno())
"""


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def lose_power(disk, tmp_path):
    """Runs a program under the shim, cuts the power, lists what is left."""

    def lose(program, seed=0, code=0, **environment):
        power = PowerCut(disk, tmp_path / f"store-{seed}", seed)
        source = "import os\n" + SYNC_FOLDER + textwrap.dedent(program)
        done = processes.run(
            [sys.executable, "-c", source],
            cwd=disk,
            code=code,
            env={**os.environ, **power.environment, **environment},
        )
        power.cut()
        left = {
            str(path.relative_to(disk)): path.read_text()
            for path in sorted(disk.rglob("*"))
            if path.is_file()
        }
        return left, done

    return lose


def outcomes(lose_power, disk, program, start=None):
    """All states that some seed leaves."""
    found = []
    for seed in range(12):
        for path in disk.iterdir():
            path.unlink()
        for name, text in (start or {}).items():
            (disk / name).write_text(text)
        left, _ = lose_power(program, seed)
        if left not in found:
            found.append(left)
    return found


def test_synced_bytes_under_a_synced_name_are_kept(lose_power):
    left, _ = lose_power("write('a', 'durable'); sync('.')")
    assert left == {"a": "durable"}


def test_bytes_that_were_not_synced_are_lost(lose_power, disk):
    (disk / "a").write_text("old")
    left, _ = lose_power("write('a', 'new', is_synced=False)")
    assert left == {"a": "old"}


def test_bytes_after_the_last_sync_are_lost(lose_power):
    left, _ = lose_power(
        "write('a', '1'); sync('.'); write('a', '2', False, mode='a')"
    )
    assert left == {"a": "1"}


def test_a_new_name_without_a_sync_of_the_directory_may_be_lost(
    lose_power, disk
):
    found = outcomes(lose_power, disk, "write('a', 'durable')")
    assert sorted(map(str, found)) == sorted(map(str, [{}, {"a": "durable"}]))


def test_a_name_may_survive_without_its_bytes(lose_power, disk):
    found = outcomes(lose_power, disk, "write('a', 'x', is_synced=False)")
    assert sorted(map(str, found)) == sorted(map(str, [{}, {"a": ""}]))


def test_a_rename_without_a_sync_happens_as_a_whole_or_not_at_all(
    lose_power, disk
):
    found = outcomes(
        lose_power,
        disk,
        "write('b', 'new'); sync('.'); os.rename('b', 'a')",
        start={"a": "old"},
    )
    expected = [{"a": "old", "b": "new"}, {"a": "new"}]
    assert sorted(map(str, found)) == sorted(map(str, expected))


def test_a_synced_rename_is_kept(lose_power, disk):
    (disk / "a").write_text("old")
    left, _ = lose_power("write('b', 'new'); os.rename('b', 'a'); sync('.')")
    assert left == {"a": "new"}


def test_a_removal_without_a_sync_may_be_undone(lose_power, disk):
    found = outcomes(lose_power, disk, "os.remove('a')", start={"a": "old"})
    assert sorted(map(str, found)) == sorted(map(str, [{}, {"a": "old"}]))


def test_a_file_in_the_place_of_a_removed_one_has_none_of_its_bytes(
    lose_power,
):
    # The system may use the inode again.
    left, _ = lose_power(
        "write('a', 'old'); os.remove('a')\n"
        "write('b', 'new', is_synced=False); sync('.')"
    )
    assert left == {"b": ""}


def test_directories_are_durable_by_themselves(lose_power):
    left, _ = lose_power(
        "os.mkdir('d'); write('d/a', 'durable'); sync('d'); sync('.')"
    )
    assert left == {"d/a": "durable"}


def test_the_same_seed_leaves_the_same_files(lose_power, disk):
    program = "for i in range(20): write(f'{i}', 'x')"
    first, _ = lose_power(program, seed=5)
    for path in disk.iterdir():
        path.unlink()
    (disk.parent / "store-5").rename(disk.parent / "old-store")
    again, _ = lose_power(program, seed=5)
    assert first == again
    assert 0 < len(first) < 20


def test_power_may_be_lost_twice(disk, tmp_path):
    power = PowerCut(disk, tmp_path / "store")
    environment = {**os.environ, **power.environment}
    for text in ("1", "2"):
        source = f"import os{SYNC_FOLDER}write('a', '{text}'); sync('.')"
        processes.run([sys.executable, "-c", source], cwd=disk, env=environment)
        power.cut()
        assert (disk / "a").read_text() == text
    processes.run(
        [sys.executable, "-c", "open('a', 'w').write('3')"],
        cwd=disk,
        env=environment,
    )
    power.cut()
    assert (disk / "a").read_text() == "2"


def test_a_chosen_sync_fails_and_makes_nothing_durable(lose_power, disk):
    (disk / "a").write_text("old")
    left, done = lose_power(
        "write('a', 'new')", code=1, POWER_CUT_FAIL_SYNC="1"
    )
    assert "Input/output error" in done.stderr
    assert left == {"a": "old"}


def test_a_sync_may_be_slow(lose_power):
    _, done = lose_power(
        "import time\n"
        "begin = time.monotonic()\n"
        "write('a', 'x')\n"
        "print(time.monotonic() - begin)",
        POWER_CUT_SYNC_MILLISECONDS="30",
    )
    assert float(done.stdout) >= 0.03
