"""The command line: arguments, one-line errors, dump and status."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.commands import main
from monolith_tf.serving import delta as delta_lib


@pytest.fixture
def delta_file(tmp_path):
    chunk = delta_lib.DeltaChunk(
        export_id=5,
        generation=7,
        shard=0,
        num_shards=2,
        from_cut=3,
        to_cut=4,
        sequence=9,
        tables=(
            delta_lib.TableChunk(
                "movie",
                np.array([-1, 2], np.int64),
                np.array([True, False]),
                np.array([[1.0, -2.5]], np.float32),
            ),
        ),
    )
    path = tmp_path / "00000-00000000000000000009.delta"
    path.write_bytes(delta_lib.encode(chunk))
    return path


def test_dump_shows_a_delta_file(delta_file, capsys):
    assert main.main(["dump", str(delta_file)]) == 0
    shown = capsys.readouterr().out
    assert "stream: shard 0 of 2" in shown
    assert "cuts: after 3, up to 4" in shown
    assert "sequence: 9" in shown
    assert "table 'movie': dim 2, 1 rows, 1 tombstones" in shown
    assert "-1: [1, -2.5]" in shown
    assert "2: tombstone" in shown


def test_dump_limits_the_ids_shown(delta_file, capsys):
    assert main.main(["dump", str(delta_file), "--max_ids=1"]) == 0
    assert "... 1 more" in capsys.readouterr().out


def test_dump_of_a_damaged_file_names_the_offset(delta_file, capsys):
    delta_file.write_bytes(delta_file.read_bytes()[:-1])
    assert main.main(["dump", str(delta_file)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert str(delta_file) in line
    assert "at byte 0" in line


def test_dump_of_something_else_says_what_it_knows(tmp_path, capsys):
    path = tmp_path / "notes"
    path.write_bytes(b"dear diary")
    assert main.main(["dump", str(path)]) == 1
    assert "Expected a delta file" in capsys.readouterr().err


def test_dump_of_a_missing_file_is_an_error(tmp_path, capsys):
    assert main.main(["dump", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_status_of_an_unreachable_server_is_one_line(capsys):
    assert main.main(["status", "--address=127.0.0.1:9"]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "127.0.0.1:9" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no model. Pass --model_base_path"),
        (["ranker"], "expected NAME=PATH. Received: 'ranker'"),
        (["a=/x", "a=/y"], "two models have one name"),
        (["--model_base_path=/x", "--model_base_path=/y"], "0 names and 2"),
    ],
)
def test_wrong_models_are_refused(arguments, message, capsys):
    assert main.main(["serve", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_port_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        main.main(["serve", "a=/x", "--port=70000"])
    assert "70000 is not a port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("serve", "Production runs TensorFlow Serving"),
        ("dump", "Shows the contents of delta files"),
        ("status", "applied the deltas of an export"),
        ("parameter-server", "Serves as a parameter server"),
        ("worker", "Serves as a worker"),
        ("cluster-status", "for a sign of life"),
        ("launch", "Restarts processes that die"),
    ],
)
def test_every_command_has_a_help_that_says_what_it_does(
    command, words, capsys
):
    with pytest.raises(SystemExit) as ended:
        main.main([command, "--help"])
    assert ended.value.code == 0
    assert words in " ".join(capsys.readouterr().out.split())


def test_dump_shows_an_export_its_row_files_and_a_checkpoint(tmp_path, capsys):
    config = mt.TableConfig("movie", dim=2)
    inputs = tf_keras.Input([], dtype="int64", name="movie_id")
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(config)
    layer.table.assign([-1], [[0.5, -0.25]])
    model = tf_keras.Model(inputs, layer(inputs))
    record = mt.serving.export_saved_model(model, tmp_path / "models")
    version = os.fspath(record)
    (rows,) = pathlib.Path(version, "assets").iterdir()
    checkpoint = tf.train.Checkpoint(table=layer.table)
    saved = checkpoint.write(str(tmp_path / "checkpoint"))
    for path, expected in (
        (version, "table 'movie': dim 2, 1 rows"),
        (str(rows), "-1: [0.5, -0.25]"),
        (saved, "table/.ATTRIBUTES/counts: int64 [64]"),
    ):
        assert main.main(["dump", path]) == 0
        assert expected in capsys.readouterr().out
