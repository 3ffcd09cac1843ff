"""The two walks of docs/architecture.md, as real calls take them."""

from __future__ import annotations

import collections.abc
import dataclasses
import pathlib
import re
import sys

import pytest
import tensorflow as tf

import monolith_tf as mt

# Bounds on the files of a walk.
FILES_TO_LOOKUP = 9
FILES_TO_APPLY = 7

PACKAGE = pathlib.Path(mt.__file__).parent
OPS = pathlib.Path(mt.ops.__file__).parent

LAYERS = [
    (room, layer)
    for room in ("layers", "keras3")
    for layer in ("DynamicEmbedding", "EmbeddingCollection")
]


def documented(text, heading):
    """Rows of the first table behind a heading: per row the files it names."""
    table = text.partition(heading)[2].partition("| --- |")[2]
    rows = []
    for line in table.partition("\n\n")[0].splitlines()[1:]:
        _, number, files, _ = line.split("|", 3)
        assert int(number) == len(rows) + 1
        rows.append(re.findall(r"`([\w/]+\.py)`", files))
    return rows


def holds_tensor(value):
    """Returns True for a tensor of rank 1 or more, and what contains one."""
    if isinstance(value, tf.Tensor):
        return value.shape.rank != 0
    if isinstance(value, (tf.IndexedSlices, tf.RaggedTensor, tf.SparseTensor)):
        return True
    if isinstance(value, dict):
        return holds_tensor(list(value.values()))
    if isinstance(value, (list, tuple, collections.abc.ValuesView)):
        return any(map(holds_tensor, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return any(
            holds_tensor(getattr(value, field.name, None))
            for field in dataclasses.fields(value)
        )
    return False


def file_of(code):
    """The path of a function in the tree, None of one that is not ours."""
    path = pathlib.Path(code.co_filename)
    for folder, name in ((OPS, "ops"), (PACKAGE, "monolith_tf")):
        if folder in path.parents:
            return f"{name}/{path.relative_to(folder).as_posix()}"
    return None


def arguments(frame):
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    return [
        frame.f_locals.get(name)
        for name in code.co_varnames[:count]
        if not name.startswith(".")
    ]


def walk(call, end):
    """Files whose functions get tensors during a call, up to one function.

    Args:
        call: What is traced.
        end: File and function; what is called afterwards does not count.

    Returns:
        What the call returned, and the files in the order of the first visit.
    """
    files = []
    visited = set()

    def profile(frame, event, _):
        if event != "call" or end in visited:
            return
        file = file_of(frame.f_code)
        if file is None or not any(map(holds_tensor, arguments(frame))):
            return
        visited.add((file, frame.f_code.co_name))
        if file not in files:
            files.append(file)

    sys.setprofile(profile)
    try:
        result = call()
    finally:
        sys.setprofile(None)
    assert end in visited
    return result, files


def make_layer(room, layer):
    layers = getattr(mt, room)
    config = mt.TableConfig("movie", dim=2)
    with mt.TableSet():
        if layer == "DynamicEmbedding":
            return layers.DynamicEmbedding(config, "sum", padding_id=0)
        return layers.EmbeddingCollection(
            [mt.FeatureConfig("movie", config, "sum", padding_id=0)]
        )


def inputs_of(layer):
    ids = tf.constant([[7, 5, 0]], tf.int64)
    return ids if layer == "DynamicEmbedding" else {"movie": ids}


def check(files, rows, bound):
    """Every file stands in the documented row of its number, and no other."""
    assert len(files) == len(rows) <= bound, files
    for file, row in zip(files, rows, strict=True):
        assert file in row, files


@pytest.fixture(scope="module")
def page(repository_root):
    return (repository_root / "docs/architecture.md").read_text()


@pytest.mark.parametrize(("room", "layer"), LAYERS)
def test_ids_walk_to_the_lookup_op_as_documented(room, layer, page):
    called = make_layer(room, layer)
    _, files = walk(
        lambda: called(inputs_of(layer)), ("ops/step_ops.py", "lookup")
    )
    rows = documented(page, "From the call of a layer to the lookup op:")
    check(files, rows, FILES_TO_LOOKUP)
    assert all(room in file for file in files[:2])


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(("room", "layer"), LAYERS)
def test_gradients_walk_to_the_apply_op_as_documented(
    room, layer, traced, page
):
    called = make_layer(room, layer)
    home = mt.keras3 if room == "keras3" else mt.optimizers
    optimizer = home.with_tables("sgd")
    found = []

    def step(inputs):
        with tf.GradientTape() as tape:
            loss = tf.add_n(tf.nest.flatten(called(inputs)))
        weights = called.trainable_weights
        variables = [getattr(weight, "value", weight) for weight in weights]
        if room == "layers":
            variables = weights

        def update():
            gradients = tape.gradient(loss, variables)
            # A list, in which the trace can look.
            pairs = list(zip(gradients, weights, strict=True))
            optimizer.apply_gradients(pairs)

        found.append(walk(update, ("ops/step_ops.py", "apply"))[1])

    if traced:
        step = tf.function(step, autograph=False)
    step(inputs_of(layer))
    rows = documented(page, "From the gradient of the vectors to the apply op:")
    check(found[0], rows, FILES_TO_APPLY)
    assert called.tables[0].size() == 2


def test_a_walk_knows_files_that_tensors_do_not_reach():
    table = make_layer("layers", "DynamicEmbedding").table
    ids = tf.constant([7], tf.int64)
    _, files = walk(lambda: table.lookup(ids), ("ops/step_ops.py", "lookup"))
    assert files[0] == "monolith_tf/table.py"
    assert "monolith_tf/placement/table_set.py" not in files
