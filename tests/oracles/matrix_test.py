"""All that a row can live through, two by two, against a dict and NumPy.

The cases are generated so that every two values of two different factors meet
in at least one of them. Each case trains a table for some steps. After each,
the oracle says which ids have a row, and what weights and slots it has, from
what the table had before.
"""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.stock_ops import quantize
from monolith_tf.stock_ops.initial_rows import initial_rows

# Distinct ids from which on a server works on several threads (parallel.h).
MANY_IDS = 8192
RATE = 0.05
BIAS_RATE = 0.25
NUM_STEPS = 4
TTL = 20

opt = mt.optimizers
OPTIMIZERS = {
    "sgd": opt.SGD(RATE),
    "nesterov": opt.SGD(RATE, momentum=0.5, nesterov=True),
    "adagrad": opt.Adagrad(RATE),
    "row_wise_adagrad": opt.RowWiseAdagrad(RATE),
    "adadelta": opt.Adadelta(1.0, rho=0.75, epsilon=0.01),
    "rmsprop": opt.RMSprop(RATE, rho=0.75, momentum=0.5, epsilon=0.01),
    "adam": opt.Adam(RATE, epsilon=0.01),
    "adam_by_row": opt.Adam(RATE, epsilon=0.01, per_row_step=True),
    "adamw": opt.AdamW(RATE, epsilon=0.01, weight_decay=0.5, amsgrad=True),
    "ftrl": opt.Ftrl(RATE, l1_regularization_strength=0.1),
    "group_adagrad": opt.GroupAdagrad(RATE, l21_regularization_strength=0.1),
    "group_ftrl": opt.GroupFtrl(RATE, l1_regularization_strength=0.1),
    "delay_compensated": opt.DelayCompensatedSGD(RATE),
    "moving_average": opt.MovingAverage(0.75),
    "batch_softmax": opt.BatchSoftmax(0.25),
    "regularized": opt.SGD(RATE, clipnorm=0.5, l2=0.1, max_norm=1.0),
}
PRECISIONS = {
    "float32": mt.precisions.Float32(),
    "bfloat16": mt.precisions.BFloat16(),
    "float16": mt.precisions.Float16(),
    "int8": mt.precisions.Int8(2.0),
    "onebit": mt.precisions.OneBit(0.5, anneal_steps=3),
    "onebit_in_levels": mt.precisions.OneBit(0.5, 3, bytes_per_weight=1),
}
ADMISSIONS = {
    "all": mt.Admission(),
    "count": mt.Admission(min_count=2),
    "window": mt.Admission(min_count=3, window_seconds=20),
    "sketch": mt.Admission(min_count=2, sketch_bytes=1 << 24),
    "probability": mt.Admission(probability=0.5),
    "zeros": mt.Admission(min_count=2, unadmitted="zeros"),
}
EVICTIONS = {
    "none": mt.Eviction(),
    "ttl": mt.Eviction(ttl_seconds=TTL),
    "lru": mt.Eviction(max_rows=25),
    "lfu": mt.Eviction(max_rows=25, policy="lfu"),
    "lowest_norm": mt.Eviction(max_rows=25, policy="lowest_norm"),
    "bytes": mt.Eviction(max_bytes=6000, ttl_seconds=TTL),
}
FACTORS = {
    "optimizer": list(OPTIMIZERS),
    "precision": list(PRECISIONS),
    "segments": ["one", "bias first", "bias last"],
    "admission": list(ADMISSIONS),
    "eviction": list(EVICTIONS),
    "num_shards": [1, 2, 3],
    # Those of a server that work on an update at once.
    "threads": [1, 2],
    "tracks_changes": [True, False],
    # Rows come to be more, on all servers, where no cap is as low.
    "initial_capacity": [0, 25],
}


def pairwise(factors, seed):
    """Cases such that every pair of values of two factors is in one."""
    chance = random.Random(seed)
    names = list(factors)
    left = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(names, 2)
        for x in factors[a]
        for y in factors[b]
    }
    cases = []
    while left:
        case = dict(min(left, key=str))
        for name in sorted(set(names) - set(case), key=names.index):

            def gain(value, name=name, case=case, left=left):
                pairs = (
                    tuple(
                        sorted(
                            ((other, case[other]), (name, value)),
                            key=lambda pair: names.index(pair[0]),
                        )
                    )
                    for other in case
                )
                return sum(pair in left for pair in pairs)

            values = chance.sample(factors[name], len(factors[name]))
            case[name] = max(values, key=gain)
        case = {name: case[name] for name in names}
        left -= set(itertools.combinations(case.items(), 2))
        cases.append(case)
    return cases


def make_config(case):
    segment = {
        "optimizer": OPTIMIZERS[case["optimizer"]],
        "initializer": mt.initializers.RandomUniform(-0.5, 0.5),
        "precision": PRECISIONS[case["precision"]],
    }
    rows = {"dim": 3, **segment}
    if case["segments"] != "one":
        bias = mt.Segment(1, optimizer=opt.Adagrad(BIAS_RATE))
        both = [bias, mt.Segment(3, **segment)]
        rows = {
            "segments": both if case["segments"] == "bias first" else both[::-1]
        }
    return mt.TableConfig(
        "matrix",
        seed=5,
        admission=ADMISSIONS[case["admission"]],
        eviction=EVICTIONS[case["eviction"]],
        tracks_changes=case["tracks_changes"],
        initial_capacity=case["initial_capacity"],
        **rows,
    )


def ids_of_steps(case, chance):
    """All ids of a case, and what comes in each of its steps."""
    is_many = case["threads"] > 1
    num_ids = case["num_shards"] * 11_000 if is_many else 40
    all_ids = chance.integers(-(2**63), 2**63 - 1, num_ids)
    all_ids[:4] = [0, -1, -(2**63), 2**63 - 1]
    share = 0.8 if is_many else 0.95
    steps = []
    for _ in range(NUM_STEPS):
        # Most ids come often, the first ones in each step, some of them twice.
        some = chance.choice(
            all_ids[8:], int(share * num_ids), replace=not is_many
        )
        steps.append(np.r_[all_ids[:8], some, some[: num_ids // 10]])
    return all_ids, steps


def check_threads(case, ids):
    """A server works on one thread, or on several, as the case says."""
    packed, _ = ops.partition(
        [ops.FeatureBatch(tf.constant(ids))], num_shards=case["num_shards"]
    )
    for shard in packed:
        assert (shard[0] >= MANY_IDS) == (case["threads"] > 1)


def has_cap(case):
    return case["eviction"] not in ("none", "ttl")


def is_refused(case):
    """Time is kept in rows that track changes, only."""
    return not case["tracks_changes"] and case["eviction"] not in (
        "none",
        "lowest_norm",
    )


def whole_rows(table):
    return {
        int(id): (int(stamp) & 0xFFFFFFFF, row)
        for ids, stamps, rows in export_rows(table)
        for id, stamp, row in zip(ids, stamps, rows, strict=True)
    }


def check_rows(oracle, found, margins):
    """Each row that is found is the expected one, up to its rounding."""
    ids = sorted(found)
    if not ids:
        return
    rows = np.array([found[id][1] for id in ids], np.float64)
    expected = np.array([oracle.rows[id][1] for id in ids], np.float64)
    margin = np.array([margins.get(id, np.zeros(rows.shape[1])) for id in ids])
    distance = np.abs(rows - expected) - 1.01 * margin
    allowed = 2e-5 + 2e-5 * np.abs(expected)
    assert np.all(distance <= allowed), (
        f"{np.max(distance - allowed)} at {np.argwhere(distance > allowed)[:3]}"
    )
    if oracle.config.tracks_changes:
        assert [found[id][0] for id in ids] == [
            oracle.rows[id][0] for id in ids
        ]


def check_lookup(oracle, table, found, ids, step):
    """Ids with a row read its values, the others what is configured."""
    read = table.lookup(tf.constant(ids)).numpy()
    expected = initial_rows(oracle.config, tf.constant(ids), step).numpy()
    there = [k for k, id in enumerate(ids) if int(id) in found]
    if there:
        weights = np.array([found[int(ids[k])][1] for k in there])
        at = 0
        for segment in oracle.config.segments:
            place = slice(at, at + segment.dim)
            at += segment.dim
            expected[there, place] = quantize.values(
                segment.precision, tf.constant(weights[:, place]), step
            )
    np.testing.assert_array_equal(read, expected)
    assert read[:40].tobytes() == expected[:40].tobytes()


def check_cap(oracle, found, ids):
    """Checks a cap that several threads enforce together.

    Rows go when a part of the ids is done, so those whose turn comes later may
    begin anew: which do is not the same in every run.
    """
    eviction = oracle.config.eviction
    assert found.keys() <= oracle.rows.keys() | set(ids.tolist())
    assert not eviction.max_rows or len(found) <= eviction.max_rows
    assert all(np.isfinite(row).all() for _, row in found.values())


def check_members(oracle, found):
    """Which ids have a row, where the oracle knows."""
    eviction = oracle.config.eviction
    if eviction.max_rows and eviction.policy == "lru":
        oracle.enforce_lru()
    if not eviction.max_rows and not eviction.max_bytes:
        live = {id for id in oracle.rows if not oracle.is_expired(id)}
        assert live <= found.keys() <= oracle.rows.keys()
    elif eviction.max_rows and eviction.policy == "lru":
        assert found.keys() == oracle.rows.keys()
    else:
        assert found.keys() <= oracle.rows.keys()
        if eviction.max_rows:
            assert len(found) <= eviction.max_rows
            if len(oracle.rows) > 500:
                assert len(found) == eviction.max_rows


CASES = pairwise(FACTORS, seed=3)


def test_servers_begin_to_share_work_where_the_cases_say(repository_root):
    kernels = repository_root / "ops" / "cc" / "kernels"
    (least,) = re.findall(
        r"kMinIdsPerThread = (\d+);", (kernels / "parallel.h").read_text()
    )
    assert MANY_IDS == 2 * int(least)
    # As many threads as there are CPUs, where nobody says otherwise.
    assert tf.config.threading.get_intra_op_parallelism_threads() != 1


def test_every_two_values_meet():
    pairs = {
        pair
        for case in CASES
        for pair in itertools.combinations(case.items(), 2)
    }
    expected = sum(
        len(FACTORS[a]) * len(FACTORS[b])
        for a, b in itertools.combinations(FACTORS, 2)
    )
    assert len(pairs) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: "-".join(str(v) for v in case.values())
)
def test_a_table_does_what_the_oracle_does(case, make_oracle):
    if is_refused(case):
        with pytest.raises(ValueError, match="tracks_changes=False"):
            make_config(case)
        return
    config = make_config(case)
    with mt.TableSet(num_shards=case["num_shards"]):
        table = mt.Table(config)
    oracle = make_oracle(config, case["num_shards"])
    chance = np.random.default_rng(7)
    all_ids, steps = ids_of_steps(case, chance)
    for step, ids in enumerate(steps, 1):
        time = 1000 + 10 * step
        check_threads(case, ids)
        values = chance.normal(size=[len(ids), config.dim]).astype(np.float32)
        table.apply_gradients(ids, values, step=step - 1, event_time=time)
        distinct, inverse, counts = np.unique(
            ids, return_inverse=True, return_counts=True
        )
        sums = np.zeros([len(distinct), config.dim])
        np.add.at(sums, inverse, values)
        margins = oracle.step(
            distinct.tolist(),
            sums.astype(np.float32),
            counts.tolist(),
            step,
            time,
        )
        found = whole_rows(table)
        if has_cap(case) and case["threads"] > 1:
            check_cap(oracle, found, ids)
        else:
            check_members(oracle, found)
            check_rows(oracle, found, margins)
        check_lookup(oracle, table, found, np.r_[all_ids, 12345], step)
        # Goes on from what was stored, so that roundings do not add up.
        oracle.rows = dict(found)
    assert table.size() == len(found) > 0
    check_end(oracle, table, found)


def check_end(oracle, table, found):
    """Rows whose ttl is over go, and all others stay."""
    oracle.clock += TTL - 5
    gone = {id for id in found if oracle.is_expired(id)}
    assert table.sweep(event_time=oracle.clock) == len(gone)
    stats = table.stats()
    assert stats.num_rows == len(found) - len(gone)
    assert stats.num_bad_gradients == 0
    went = stats.num_expired + stats.num_capped
    assert stats.num_admitted - went == stats.num_rows
