"""`monolith-tf snapshots`, and `dump` of their files."""

import pathlib

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.commands.main import main


@pytest.fixture
def directory(tmp_path):
    """Three snapshots, the second an increment of the first."""
    with mt.TableSet():
        table = mt.Table(mt.TableConfig("movie", dim=2))
    root = tf.train.Checkpoint(table=table)
    writer = mt.snapshots.SnapshotWriter(
        root, tmp_path / "snapshots", full_every=2, keep=5
    )
    table.assign(range(10), tf.ones([10, 2]))
    writer.save(step=100)
    table.assign([3, 20, 21], tf.zeros([3, 2]))
    table.remove([4])
    writer.save(step=200)
    writer.save(step=300)
    return tmp_path / "snapshots"


def test_list_shows_every_snapshot(directory, capsys):
    (pathlib.Path(directory) / "snapshot-00000009").mkdir()
    assert main(["snapshots", "list", str(directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["number", "step", "continues"]
    assert lines[1].split()[:4] == ["1", "100", "-", "10"]
    assert lines[2].split()[:4] == ["2", "200", "1", "3"]
    assert lines[3].split()[:4] == ["3", "300", "-", "11"]
    assert "no snapshot 9" in lines[4]


def test_verify_finds_damage(directory, capsys):
    assert main(["snapshots", "verify", str(directory)]) == 0
    assert "2: whole, 6 files" in capsys.readouterr().out
    path = pathlib.Path(directory) / "snapshot-00000001/rows-00-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(bytes(content))
    assert main(["snapshots", "verify", str(directory), "3"]) == 0
    capsys.readouterr()
    assert main(["snapshots", "verify", str(directory)]) == 1
    said = capsys.readouterr().out
    assert "1: " in said and "2: " in said and "3: whole" in said
    assert said.count("CRC32C") == 2


def test_verify_of_an_empty_directory_fails(tmp_path, capsys):
    assert main(["snapshots", "verify", str(tmp_path)]) == 1
    assert "has no snapshot" in capsys.readouterr().out


def test_diff_counts_rows(directory, capsys):
    assert main(["snapshots", "diff", str(directory), "1", "2"]) == 0
    assert capsys.readouterr().out == (
        "movie: 2 added, 1 removed, 1 changed, 8 equal\n"
    )
    assert main(["snapshots", "diff", str(directory), "2", "3"]) == 0
    assert "0 added, 0 removed, 0 changed, 11 equal" in capsys.readouterr().out


def test_prune_keeps_what_it_is_told(directory, capsys):
    assert main(["snapshots", "prune", str(directory), "--keep=1"]) == 0
    assert capsys.readouterr().out == "Removed [1, 2].\n"
    assert main(["snapshots", "diff", str(directory), "1", "3"]) == 1
    assert "no snapshot 1" in capsys.readouterr().err


def test_dump_shows_the_files_of_a_snapshot(directory, capsys):
    folder = pathlib.Path(directory) / "snapshot-00000002"
    part = folder / "rows-00-00000-of-00001"
    assert main(["dump", str(folder / "MANIFEST"), str(part)]) == 0
    said = capsys.readouterr().out
    assert "manifest of a snapshot" in said
    assert "    removed: 1 [4]" in said
