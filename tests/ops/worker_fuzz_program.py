"""Sends ops requests that are right, and such that are damaged in some place.

Usage: worker_fuzz_program.py group number_of_requests seed

Prints how many were taken and how many refused. A request is written to stderr
before it is made: the last one of a process that died is the one to look at.
"""

from __future__ import annotations

import collections
import faulthandler
import resource
import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.ops.library import library

REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.ResourceExhaustedError,
    tf.errors.FailedPreconditionError,
    tf.errors.OutOfRangeError,
    ValueError,
    TypeError,
)
# What a request may allocate: outputs of any size can be asked for.
ROOM_BYTES = 3 << 30
# Attributes that say how many outputs there are. TensorFlow makes room for them
# before it asks an op.
NUMBERS_OF_OUTPUTS = ("num_shards", "num_groups")
MOST_OUTPUTS = 5000
COMBINERS = ["none", "sum", "mean", "sqrtn", "first_n"]
EDGES = [0, 1, 2, 3, -1, -2, 255, 4096, 4097, 65536, 65537]
EDGES += [1 << k for k in (16, 30, 31, 32, 40, 41, 60, 62)]
EDGES += [(1 << 31) - 1, (1 << 63) - 1, -(1 << 31), -(1 << 63)]
EXTREME_SHAPES = [[0], [0, 0], [1 << 40, 0], [1 << 60, 0], [0, 1 << 60], [3, 0]]
EXTREME_SHAPES += [[2, 0, 3], [1 << 30, 1 << 30, 0], [1] * 253 + [0], [1] * 254]


class Source:
    """Random parts of requests."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def chance(self, probability):
        return self.rng.random() < probability

    def below(self, n):
        return int(self.rng.integers(n))

    def among(self, values):
        return values[self.below(len(values))]

    def number(self):
        return self.among(EDGES) if self.chance(0.5) else self.below(6)

    def ids(self, *shape):
        return tf.constant(self.rng.integers(-2, 6, shape), tf.int64)

    def floats(self, *shape):
        return tf.constant(self.rng.normal(size=shape), tf.float32)

    def splits(self, num_ids):
        inner = np.sort(self.rng.integers(0, num_ids + 1, self.below(4)))
        return tf.constant(np.r_[0, inner, num_ids], tf.int64)

    def damaged_tensor(self, tensor):
        """Another shape, or another number somewhere."""
        kind = self.below(4)
        if (
            kind == 1
            or tensor.shape.rank > 8
            or max(tensor.shape, default=0) > 99
        ):
            return tf.fill(
                self.among(EXTREME_SHAPES), tf.zeros([], tensor.dtype)
            )
        values = tensor.numpy()
        if kind == 0 and values.size:
            flat = values.flatten()
            number = self.number()
            if values.dtype == np.int64:
                flat[self.below(flat.size)] = number
            else:
                flat[self.below(flat.size)] = number % 65536
            values = flat.reshape(values.shape)
        elif kind == 2:
            values = values[None] if self.chance(0.5) else values.ravel()
        else:
            values = values.ravel()[: self.below(values.size + 1)]
        return tf.constant(values, tensor.dtype)

    def damaged(self, value):
        """A value of the same kind that does not fit, as a rule."""
        if isinstance(value, (tf.Tensor, tf.Variable)):
            if value.dtype == tf.resource:
                # An invalid handle does not reach the op.
                return tf.reshape(value, self.among([[], [1], [1, 1]]))
            return self.damaged_tensor(value)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return self.number()
        if isinstance(value, str):
            return self.among([*COMBINERS, "a", "b", "no such", ""])
        assert isinstance(value, list), value
        value = list(value)
        kind = self.below(3)
        if kind == 0 and value:
            value.pop()
        elif kind == 1 and value:
            value.append(self.among(value))
        elif value:
            place = self.below(len(value))
            value[place] = self.damaged(value[place])
        return value


def features(source):
    """Ids of some features, and the attributes that ops on them share."""
    count = 1 + source.below(3)
    num_tables = 1 + source.below(2)
    combiners = [source.among(COMBINERS) for _ in range(count)]
    ragged = [source.chance(0.4) for _ in range(count)]
    weighted = [source.chance(0.4) for _ in range(count)]
    sizes = [source.below(5) for _ in range(count)]
    ids = [
        source.ids(size)
        if is_ragged or source.chance(0.3)
        else source.ids(size, source.below(4))
        for size, is_ragged in zip(sizes, ragged, strict=True)
    ]
    splits = [
        source.splits(size)
        for size, is_ragged in zip(sizes, ragged, strict=True)
        if is_ragged
    ]
    weights = [
        source.floats(*f.shape)
        for f, has in zip(ids, weighted, strict=True)
        if has
    ]
    shared = {
        "feature_tables": [source.below(num_tables) for _ in range(count)],
        "combiners": combiners,
        "ns": [1 + source.below(3) if c == "first_n" else 0 for c in combiners],
        "ragged": ragged,
        "num_tables": num_tables,
    }
    padding = {
        "padded": [source.chance(0.3) for _ in range(count)],
        "padding_ids": [source.below(3) for _ in range(count)],
    }
    return ids, splits, weights, weighted, shared, padding


def partition(source):
    ids, splits, _, _, shared, padding = features(source)
    request = {"ids": ids, "splits": splits, **shared, **padding}
    request["num_shards"] = 1 + source.below(3)
    return "monolith_partition", request


def routed(source):
    """State of a lookup of some features."""
    ids, splits, weights, weighted, shared, padding = features(source)
    packed, positions = library.monolith_partition(
        ids, splits, num_shards=1 + source.below(3), **shared, **padding
    )
    dims = [1 + source.below(3) for _ in range(shared["num_tables"])]
    rows = [
        source.floats(
            sum(int(n) * dim for n, dim in zip(p, dims, strict=False))
        )
        for p in packed
    ]
    request = {"positions": list(positions), "splits": splits}
    request |= {"weights": weights, "weighted": weighted, **shared}
    return list(packed), rows, dims, request


def combine(source):
    packed, rows, dims, request = routed(source)
    request |= {"packed": packed, "shard_rows": rows, "dims": dims}
    return "monolith_combine", request


def combine_gradients(source):
    packed, rows, dims, request = routed(source)
    vectors = library.monolith_combine(
        packed=packed, shard_rows=rows, dims=dims, **request
    )
    tables = sorted(set(request["feature_tables"]))
    gradients = [source.floats(*v.shape) for v in vectors]
    first_columns = [-1] * len(vectors)
    for f, gradient in enumerate(gradients):
        if source.chance(0.4):
            first_columns[f] = source.below(3)
            more = [[0, 0]] * (len(gradient.shape) - 1)
            gradients[f] = tf.pad(gradient, [*more, [first_columns[f], 1]])
    request |= {
        "global_step": tf.constant(1, tf.int64),
        "event_time": tf.constant(1, tf.int64),
        "learning_rates": source.floats(2),
        "packed_ids": packed,
        "gradients": gradients,
        "gradient_of": list(range(len(vectors))),
        "first_columns": first_columns,
        "tables": tables,
        "dims": [dims[t] for t in tables],
        "overrides": [source.below(4) | source.below(2) << 47 for _ in vectors],
    }
    return "monolith_combine_gradients", request


def one_feature(source):
    """A feature alone, its vectors and the rest."""
    combiner = source.among(COMBINERS)
    n = 1 + source.below(3) if combiner == "first_n" else 0
    num_lists, length = source.below(4), source.below(4)
    dim = 1 + source.below(3)
    is_ragged = source.chance(0.4)
    ids = source.ids(num_lists * length)
    splits = [source.splits(num_lists * length)] if is_ragged else []
    if not is_ragged:
        ids = tf.reshape(ids, [num_lists, length])
    attributes = {
        "combiners": [combiner],
        "ns": [n],
        "ragged": [is_ragged],
        "feature_tables": [0],
        "num_tables": 1,
    }
    (packed,), (positions,) = library.monolith_partition(
        [ids],
        splits,
        num_shards=1,
        padded=[False],
        padding_ids=[0],
        **attributes,
    )
    (vectors,) = library.monolith_combine(
        [packed],
        [source.floats(int(packed[0]) * dim)],
        [positions],
        splits,
        [],
        weighted=[False],
        dims=[dim],
        **attributes,
    )
    return vectors, {
        "ids": ids,
        "positions": positions,
        "splits": splits,
        "weights": [source.floats(*ids.shape)] if source.chance(0.4) else [],
        "combiner": combiner,
        "n": n,
        "dim": dim,
        "overrides": source.below(3) | source.below(2) << 47,
    }


def slices(source):
    gradient, request = one_feature(source)
    return "monolith_slices", {"gradient": gradient, **request}


def attach(source):
    vectors, request = one_feature(source)
    anchor = tf.zeros([0, request["dim"]])
    return "monolith_attach", {"anchor": anchor, "vectors": vectors, **request}


def weights(source):
    splits = source.splits(4)
    request = {"weights": source.floats(4), "places": splits}
    return "monolith_checked_weights", {
        **request,
        "expected": tf.identity(splits),
    }


def sparse_splits(source):
    rows = np.sort(source.rng.integers(0, 4, source.below(5)))
    indices = np.stack([rows, np.arange(len(rows))], axis=1)
    count = 1 + source.below(2)
    return "monolith_sparse_splits", {
        "indices": [tf.constant(indices, tf.int64)] * count,
        "dense_shapes": [tf.constant([4, 9], tf.int64)] * count,
    }


def fill_missing(source):
    ids, splits, found_weights, weighted, shared, padding = features(source)
    return "monolith_fill_missing", {
        "ids": ids,
        "splits": splits,
        "weights": found_weights,
        "single": [combiner == "none" for combiner in shared["combiners"]],
        "ragged": shared["ragged"],
        "weighted": weighted,
        "default_ids": [source.number() for _ in ids],
        **padding,
    }


def partition_gradients(source):
    num_tables = 1 + source.below(3)
    ids = [source.ids(source.below(5)) for _ in range(num_tables)]
    counted = [t for t in range(num_tables) if source.chance(0.4)]
    return "monolith_partition_gradients", {
        "global_step": tf.constant(1, tf.int64),
        "event_time": tf.constant(1, tf.int64),
        "learning_rates": source.floats(2),
        "ids": ids,
        "gradients": [source.floats(len(i), source.below(4)) for i in ids],
        "overrides": [tf.zeros_like(ids[t]) for t in counted],
        "num_shards": 1 + source.below(3),
        "override_tables": counted,
    }


def narrow(source):
    n = source.below(9)
    request = {"floats": source.floats(n), "num_exact": source.below(n + 1)}
    return "monolith_narrow", {
        **request,
        "format": source.among(["bfloat16", "float16"]),
    }


def widen(source):
    n = source.below(9)
    words = tf.constant(source.rng.integers(0, 65536, n), tf.uint16)
    return "monolith_widen", {
        "words": words,
        "num_exact": source.below(n // 2 + 1),
        "format": source.among(["bfloat16", "float16"]),
    }


CONFIGS = [mt.TableConfig("a", dim=2), mt.TableConfig("b", dim=3)]


def handle_of_tables():
    handle = ops.table_set_handle("fuzz of workers")
    for config in CONFIGS:
        ops.table_create(
            handle, attributes=config.op_attributes(0, 1), generation=1
        )
    ops.start_deltas(handle)
    return handle


def server(source):
    """A request for a server that holds two tables."""
    handle = handle_of_tables()
    many = {"tables": ["a", "b"], "dims": [2, 3]}
    one = {"table": "b"}
    time = tf.constant(5, tf.int64)
    ids = source.ids(2)
    counts = tf.constant([1, 1], tf.int64)
    packed = tf.concat([counts, ids], axis=0)
    step = tf.concat([counts, packed, counts], axis=0)
    _, cut = library.monolith_table_set_status(handle)
    groups = {"first_group": 0, "num_groups": 1, **one}
    name, request = source.among(
        [
            ("lookup", {"packed": packed, **many}),
            ("apply", {"packed": step, "values": source.floats(7), **many}),
            ("lookup_with_exists", {"ids": ids, "dim": 3, **one}),
            (
                "assign",
                {
                    "ids": ids,
                    "rows": source.floats(2, 3),
                    "event_time": time,
                    **one,
                },
            ),
            (
                "set_pretrained",
                {
                    "ids": tf.constant([1, 2], tf.int64),
                    "rows": source.floats(2, 3),
                    "segment": 0,
                    **one,
                },
            ),
            ("take_delta", {"acked_cut": cut, "num_tables": 2, **many}),
            (
                "export_chunk",
                {"cursor": time * 0, "max_rows": 2, "values": True, **one},
            ),
            ("export_groups", groups),
            ("export_filter", groups),
            ("import_filter", {"words": ids[:0], "group": 0, **one}),
            ("remove", {"ids": ids, **one}),
            ("sweep", {"event_time": time, **one}),
            ("set_clock", {"clock": ids * ids, **one}),
            ("read_clock", one),
            ("size", one),
            ("request_counts", {}),
            ("stats", {}),
        ]
    )
    return f"monolith_{name}", {"handle": handle, **request}


GROUPS = {
    "lookups": [partition, combine],
    "gradients": [combine_gradients, partition_gradients, slices],
    "inputs": [attach, weights, sparse_splits, fill_missing, narrow, widen],
    "servers": [server],
}


def in_function(name, request, has_shapes):
    """Runs an op in a graph; shapes are known there, or unknown."""
    tensors = [t for t in tf.nest.flatten(request) if tf.is_tensor(t)]
    specs = [
        tf.TensorSpec(t.shape if has_shapes else None, t.dtype)
        for t in tensors
        if t.dtype != tf.resource
    ]

    @tf.function(input_signature=specs, autograph=False)
    def run(*given):
        given = iter(given)
        arguments = tf.nest.map_structure(
            lambda part: (
                next(given)
                if tf.is_tensor(part) and part.dtype != tf.resource
                else part
            ),
            request,
        )
        outputs = getattr(library, name)(**arguments)
        return None if isinstance(outputs, tf.Operation) else outputs

    return run(*[t for t in tensors if t.dtype != tf.resource])


def make_request(source, name, request):
    mode = source.among(["eager", "eager", "unknown shapes", "shapes"])
    said = tf.nest.map_structure(
        lambda part: (
            f"{part.dtype.name}{part.shape}" if tf.is_tensor(part) else part
        ),
        request,
    )
    print(mode, name, said, file=sys.stderr, flush=True)
    if mode == "eager":
        return getattr(library, name)(**request)
    return in_function(name, request, mode == "shapes")


def main(group, num_requests, seed):
    faulthandler.enable()
    source = Source(seed)
    counts = collections.Counter()
    # What TensorFlow itself needs is there after the first calls.
    for make in GROUPS[group] * 3:
        make_request(source, *make(source))
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limit = used + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(num_requests):
        make = GROUPS[group][number % len(GROUPS[group])]
        name, request = make(source)
        num_damages = source.among([0, 1, 1, 1, 2])
        for _ in range(num_damages):
            key = source.among(list(request))
            value = source.damaged(request[key])
            if key in NUMBERS_OF_OUTPUTS or (
                key == "num_tables" and name == "monolith_take_delta"
            ):
                value = min(value, MOST_OUTPUTS)
            request = {**request, key: value}
        try:
            make_request(source, name, request)
        except REFUSALS as error:
            assert num_damages, f"{name} refused what is right: {error}"
            counts["refused"] += 1
        else:
            counts["taken"] += 1
    print(counts["taken"], counts["refused"])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
