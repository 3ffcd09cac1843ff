"""Every wrapper has the documentation of its op, and passes its name on."""

from __future__ import annotations

import inspect
import re
import types

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.ops import FeatureBatch
from monolith_tf.ops.library import library


def ids(*shape):
    return tf.compat.v1.placeholder(tf.int64, shape)


def floats(*shape):
    return tf.compat.v1.placeholder(tf.float32, shape)


def feature(**changes):
    return FeatureBatch(**({"ids": ids(2)} | changes))


STEP = {
    "global_step": 1,
    "event_time": 1,
    "learning_rates": [0.5],
}
# A call of each wrapper, in a graph; `h` is the handle of a table set.
CALLS = {
    "apply": lambda h, **name: ops.apply(
        h, ids(5), floats(5), tables=["t"], dims=[4], **name
    ),
    "assign": lambda h, **name: ops.assign(
        h, ids(3), floats(3, 4), ids(), table="t", **name
    ),
    "attach": lambda h, **name: ops.attach(
        floats(0, 4), floats(2, 4), ids(2), feature(), dim=4, **name
    ),
    "checked_weights": lambda h, **name: ops.checked_weights(
        floats(5), ids(3), ids(3), **name
    ),
    "clear": lambda h, **name: ops.clear(h, table="t", **name),
    "combine": lambda h, **name: ops.combine(
        [ids(3)], [floats(8)], [ids(2)], [feature()], dims=[4], **name
    ),
    "combine_gradients": lambda h, **name: ops.combine_gradients(
        **STEP,
        packed=[ids(3)],
        gradients=[floats(2, 4)],
        positions=[ids(2)],
        features=[feature()],
        feature_tables=[0],
        num_tables=1,
        tables=[0],
        dims=[4],
        **name,
    ),
    "abandon_restore": lambda h, **name: ops.abandon_restore(h, **name),
    "adopt_table_set": lambda h, **name: ops.adopt_table_set(
        h, ids(), ids(), ids(), **name
    ),
    "begin_restore": lambda h, **name: ops.begin_restore(h, **name),
    "drain": lambda h, **name: ops.drain(ids(), **name),
    "end_restore": lambda h, **name: ops.end_restore(h, **name),
    "export_chunk": lambda h, **name: ops.export_chunk(
        h, ids(), table="t", max_rows=1, **name
    ),
    "export_filter": lambda h, **name: ops.export_filter(
        h, table="t", first_group=0, num_groups=1, **name
    ),
    "export_groups": lambda h, **name: ops.export_groups(
        h, table="t", first_group=0, num_groups=1, **name
    ),
    "export_requests": lambda h, **name: ops.export_requests(h, **name),
    "import_requests": lambda h, **name: ops.import_requests(h, ids(2), **name),
    "fence_writers": lambda h, **name: ops.fence_writers(
        ids(), ids(), tf.constant(["s"]), **name
    ),
    "fill_missing": lambda h, **name: ops.fill_missing(
        [feature(default_id=7, padding_id=0)], **name
    ),
    "import_filter": lambda h, **name: ops.import_filter(
        h, ids(3), table="t", group=0, **name
    ),
    "import_rows": lambda h, **name: ops.import_rows(
        h, ids(3, 2), floats(3, 4), table="t", **name
    ),
    "lookup": lambda h, **name: ops.lookup(
        h, ids(3), tables=["t"], dims=[4], **name
    ),
    "lookup_with_exists": lambda h, **name: ops.lookup_with_exists(
        h, ids(3), table="t", dim=4, **name
    ),
    "narrow": lambda h, **name: ops.narrow(
        floats(3), wire_format="bfloat16", **name
    ),
    "partition": lambda h, **name: ops.partition(
        [feature()], num_shards=1, **name
    ),
    "partition_gradients": lambda h, **name: ops.partition_gradients(
        **STEP, ids=[ids(3)], gradients=[floats(3, 4)], num_shards=1, **name
    ),
    "read_clock": lambda h, **name: ops.read_clock(h, table="t", **name),
    "remove": lambda h, **name: ops.remove(h, ids(3), table="t", **name),
    "renew": lambda h, **name: ops.renew(h, 1, **name),
    "request_counts": lambda h, **name: ops.request_counts(h, **name),
    "server_counters": lambda h, **name: ops.server_counters(**name),
    "set_clock": lambda h, **name: ops.set_clock(h, ids(2), table="t", **name),
    "set_pretrained": lambda h, **name: ops.set_pretrained(
        h, ids(3), floats(3, 4), table="t", segment=0, **name
    ),
    "size": lambda h, **name: ops.size(h, table="t", **name),
    "slices": lambda h, **name: ops.slices(
        floats(2, 4), ids(2), feature(), dim=4, **name
    ),
    "snapshot_abort": lambda h, **name: ops.snapshot_abort(h, **name),
    "snapshot_begin": lambda h, **name: ops.snapshot_begin(h, ids(), **name),
    "snapshot_read": lambda h, **name: ops.snapshot_read(h, "path", **name),
    "snapshot_write": lambda h, **name: ops.snapshot_write(
        h, "path", "0123456789abcdef", **name
    ),
    "sparse_splits": lambda h, **name: ops.sparse_splits(
        [tf.SparseTensor([[0, 0]], tf.constant([7], tf.int64), [1, 1])], **name
    ),
    "start_deltas": lambda h, **name: ops.start_deltas(h, **name),
    "stop_deltas": lambda h, **name: ops.stop_deltas(h, **name),
    "stats": lambda h, **name: ops.stats(h, **name),
    "sweep": lambda h, **name: ops.sweep(h, ids(), table="t", **name),
    "table_create": lambda h, **name: ops.table_create(
        h,
        attributes=mt.TableConfig("t", dim=4).op_attributes(0, 1),
        generation=1,
        **name,
    ),
    "table_drop": lambda h, **name: ops.table_drop(h, "t", **name),
    "table_set_handle": lambda h, **name: ops.table_set_handle("s", **name),
    "table_set_status": lambda h, **name: ops.table_set_status(h, **name),
    "take_delta": lambda h, **name: ops.take_delta(
        h, ids(), tables=["t"], dims=[4], **name
    ),
    "widen": lambda h, **name: ops.widen(
        tf.zeros([3], tf.uint16), wire_format="bfloat16", **name
    ),
    "with_request": lambda h, **name: ops.with_request(
        ids(), ids(), ids(), **name
    ),
    "worker_counters": lambda h, **name: ops.worker_counters(**name),
}
# It makes its value of stock ops.
WITHOUT_AN_OP = {"with_request"}


def op_of(wrapper):
    """The name of a wrapper's op: MonolithTakeDelta for take_delta."""
    return "Monolith" + wrapper.title().replace("_", "")


def one_line(text):
    return " ".join(text.split())


def test_every_op_has_a_wrapper_of_its_name_and_every_wrapper_a_call():
    functions = {
        name
        for name in ops.__all__
        if isinstance(getattr(ops, name), types.FunctionType)
        and not name.startswith("stock_")
        and name != "valid_ids"  # Stock ops, too.
    }
    assert functions == set(CALLS)
    found = {
        name.removeprefix("monolith_")
        for name in dir(library)
        if name.startswith("monolith_") and "eager_fallback" not in name
    }
    assert found == functions - WITHOUT_AN_OP


@pytest.mark.parametrize("wrapper", sorted(CALLS))
def test_an_op_has_the_name_that_its_wrapper_was_given(wrapper):
    parameter = inspect.signature(getattr(ops, wrapper)).parameters["name"]
    assert parameter.default is None
    assert parameter.kind == inspect.Parameter.KEYWORD_ONLY
    with tf.Graph().as_default() as graph:
        handle = ops.table_set_handle("of other ops")
        CALLS[wrapper](handle, name="chosen")
        if wrapper in WITHOUT_AN_OP:
            names = [operation.name for operation in graph.get_operations()]
            assert any(name.startswith("chosen/") for name in names)
        else:
            operation = graph.get_operation_by_name("chosen")
            assert operation.type == op_of(wrapper)


@pytest.mark.parametrize("wrapper", sorted(set(CALLS) - WITHOUT_AN_OP))
def test_a_wrapper_says_of_its_op_what_the_op_says(wrapper):
    """All but the arguments, which wrappers name and pack in their own way."""
    docstring = inspect.getdoc(getattr(ops, wrapper))
    described, arguments = re.split(r"\n\n(?=Args:\n)", docstring)
    function = getattr(library, f"monolith_{wrapper}")
    expected = function.__doc__.split("\n\n  Args:\n")[0]
    # Docs of ops call other ops by their names.
    expected = re.sub(
        "`Monolith([A-Za-z]+)`",
        lambda op: "`" + re.sub("(?<!^)(?=[A-Z])", "_", op[1]).lower() + "`",
        expected,
    )
    assert one_line(described) == one_line(expected)
    for parameter in inspect.signature(getattr(ops, wrapper)).parameters:
        assert re.search(rf"^    {parameter}: ", arguments, re.MULTILINE)


def registrations(root):
    """Pairs of a name and the text of its registration."""
    for path in sorted((root / "ops/cc/registrations").glob("*_ops.cc")):
        parts = re.split(r'REGISTER_OP\("(\w+)"\)', path.read_text())[1:]
        yield from zip(parts[::2], parts[1::2], strict=True)


def test_every_op_documents_its_inputs_outputs_and_attributes(
    repository_root,
):
    undocumented = []
    for op, text in registrations(repository_root):
        doc = re.search(r'R"doc\((.*?)\)doc"', text, re.DOTALL)[1]
        arguments = re.findall(
            r'\.(?:Input|Output|Attr)\("(\w+): (?:(\w+) \* )?([^"]*)"', text
        )
        # Lengths of lists and types follow from the inputs and outputs.
        derived = {length for _, length, _ in arguments}
        derived |= {kind for _, _, kind in arguments}
        undocumented += [
            f"{op}.{name}"
            for name, _, _ in arguments
            if name not in derived
            and not re.search(rf"^{name}: \S", doc, re.MULTILINE)
        ]
    assert not undocumented
    found = {op for op, _ in registrations(repository_root)}
    assert found == {op_of(wrapper) for wrapper in set(CALLS) - WITHOUT_AN_OP}
