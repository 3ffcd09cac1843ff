"""All that a row can live through, two by two, against a dict and NumPy.

The cases are generated so that every two values of two different factors meet
in at least one of them. Each case trains a table for some steps. After each,
the oracle says which ids have a row, and what weights and slots it has, from
what the table had before.
"""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import hashing
from monolith_tf import sharding
from monolith_tf import stored_weights
from monolith_tf.initial_rows import initial_rows
from monolith_tf.initial_rows import rows_of_segments

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
}
ADMISSIONS = {
    "all": mt.Admission(),
    "count": mt.Admission(min_count=2),
    "window": mt.Admission(min_count=3, window_seconds=20),
    "sketch": mt.Admission(min_count=2, sketch_bytes=1 << 20),
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
    # From 8,192 ids on, an op works on several threads.
    "num_ids": [40, 10_000],
    "tracks_changes": [True, False],
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


def clipped_step(z, q, l1=0.0, l2=0.0, l21=0.0):
    """Minimizes z x + q x^2 / 2 with a sparse group lasso."""
    s = np.clip(z, -l1, l1) - z
    norm = np.sqrt((s**2 / (q / 2 + l2)).sum(axis=1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.maximum(1 - l21 * np.sqrt(z.shape[1]) / norm, 0)
    return np.where(norm > 0, scale, 0) * s / (q + 2 * l2)


def decayed(old, new, rate):
    return rate * old + (1 - rate) * new


# The step of each optimizer: of weights, slots and gradients [n, dim], slots
# changed in place, in float64. The equations are cited where each is tested by
# itself, in tests/optimizers.


def sgd(o, w, slots, g, t):
    if not o.momentum:
        return w - o.learning_rate * g
    (m,) = slots
    m[:] = o.momentum * m - o.learning_rate * g
    return w + (o.momentum * m - o.learning_rate * g if o.nesterov else m)


def adagrad(o, w, slots, g, t):
    slots[0] += g**2
    return w - o.learning_rate * g / np.sqrt(slots[0] + o.epsilon)


def row_wise_adagrad(o, w, slots, g, t):
    slots[0] += (g**2).mean(axis=1, keepdims=True)
    return w - o.learning_rate * g / np.sqrt(slots[0] + o.epsilon)


def adadelta(o, w, slots, g, t):
    grads, deltas = slots
    grads[:] = decayed(grads, g**2, o.rho)
    step = -np.sqrt(deltas + o.epsilon) / np.sqrt(grads + o.epsilon) * g
    deltas[:] = decayed(deltas, step**2, o.rho)
    return w + o.learning_rate * step


def rmsprop(o, w, slots, g, t):
    velocity, m = slots
    velocity[:] = decayed(velocity, g**2, o.rho)
    m[:] = o.momentum * m + o.learning_rate * g / np.sqrt(velocity + o.epsilon)
    return w - m


def adam(o, w, slots, g, t):
    if o.per_row_step:
        slots[-1] += 1
        t = slots[-1]
    m, v = slots[:2]
    m[:] = decayed(m, g, o.beta_1)
    v[:] = decayed(v, g**2, o.beta_2)
    if o.amsgrad:
        v = np.maximum(v, slots[2], out=slots[2])
    rate = o.learning_rate * np.sqrt(1 - o.beta_2**t) / (1 - o.beta_1**t)
    return w - rate * m / (np.sqrt(v) + o.epsilon)


def ftrl(o, w, slots, g, t):
    n, z = slots
    rate = o.learning_rate
    z += g - (np.sqrt(n + g**2) - np.sqrt(n)) / rate * w
    n += g**2
    l21 = getattr(o, "l21_regularization_strength", 0.0)
    return clipped_step(
        z,
        (np.sqrt(n) + o.beta) / rate,
        o.l1_regularization_strength,
        o.l2_regularization_strength,
        l21,
    )


def group_adagrad(o, w, slots, g, t):
    slots[0] += g**2
    q = np.sqrt(slots[0] + o.epsilon) / o.learning_rate
    return clipped_step(
        g - q * w,
        q,
        o.l1_regularization_strength,
        o.l2_regularization_strength,
        o.l21_regularization_strength,
    )


def delay_compensated_sgd(o, w, slots, g, t):
    g = g + o.variance_control * g * g * (w - slots[0])
    slots[0][:] = w
    return w - o.learning_rate * g


def moving_average(o, w, slots, g, t):
    return decayed(w, g, o.momentum)


def batch_softmax(o, w, slots, g, t):
    high, low = slots
    new = decayed(t - (high * 2**24 + low), w, o.learning_rate)
    low[:] = t
    return new + np.zeros_like(w)


RULES = {
    "sgd": sgd,
    "adagrad": adagrad,
    "row_wise_adagrad": row_wise_adagrad,
    "adadelta": adadelta,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adam,
    "ftrl": ftrl,
    "group_ftrl": ftrl,
    "group_adagrad": group_adagrad,
    "delay_compensated_sgd": delay_compensated_sgd,
    "moving_average": moving_average,
    "batch_softmax": batch_softmax,
}


def stepped(optimizer, weights, slots, gradients, step):
    """The step with what regularization does around it."""
    decay, l2, clip_value, clip_norm, max_norm = optimizer.regularization
    gradients = gradients + 2 * l2 * weights
    if clip_value:
        gradients = np.clip(gradients, -clip_value, clip_value)
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    if clip_norm:
        gradients = gradients * np.minimum(1, clip_norm / norms)
    if decay:
        weights = weights - decay * optimizer.learning_rate * weights
    weights = RULES[optimizer.kind](optimizer, weights, slots, gradients, step)
    if max_norm:
        norms = np.linalg.norm(weights, axis=1, keepdims=True)
        weights = weights * np.minimum(1, max_norm / norms)
    return weights


def gradient_of_weights(precision, weights, gradients, step):
    """What a precision makes of the gradient of what a lookup returned."""
    if precision.kind == "int8":
        limit = precision.range * (1 - 1e-6)
    elif precision.kind == "onebit" and step >= precision.anneal_steps:
        limit = precision.amplitude
    elif precision.kind == "onebit":
        beta = precision.anneal_steps / (precision.anneal_steps - step)
        tanh = np.tanh(beta * weights / precision.amplitude)
        return gradients * beta * (1 - tanh**2)
    else:
        return gradients
    is_outward = (np.abs(weights) >= limit) & (weights * gradients < 0)
    return np.where(is_outward, 0, gradients)


def rounding_step(precision, weights):
    """The distance between two numbers that can be stored, at most."""
    return {
        "float32": 0 * weights,
        "bfloat16": np.abs(weights) / 128,
        "onebit": np.abs(weights) / 128,
        "float16": np.abs(weights) / 1024 + 2.0**-24,
        "int8": 0 * weights + 2.0 / 127,
    }[precision.kind]


def clipped(precision, weights):
    if precision.kind != "int8":
        return weights
    return np.clip(weights, -precision.range, precision.range)


class Oracle:
    """Ids to (seconds of the last update, weights and slots)."""

    def __init__(self, config, num_shards):
        self.config = config
        self.num_shards = num_shards
        self.rows = {}
        self.counts = {}
        self.clock = 0
        self.key = hashing.table_key(config.seed, config.name)

    def is_expired(self, id):
        ttl = self.config.eviction.ttl_seconds
        return ttl > 0 and self.clock - self.rows[id][0] > ttl

    def admits(self, id, occurrences, step):
        admission = self.config.admission
        if admission.kind == "all":
            return True
        if admission.kind == "probability":
            key = hashing.mix64(id + (self.key ^ ((1 << 64) - 1)))
            bits = hashing.mix64(key + step) >> 11
            p = float(np.float32(admission.probability))
            return bits * 2.0**-53 < 1 - (1 - p) ** occurrences
        bucket = 0
        if admission.window_seconds:
            bucket = self.clock // (admission.window_seconds // 2)
        counts = self.counts.setdefault(id, {})
        counts[bucket] = counts.get(bucket, 0) + occurrences
        total = counts[bucket] + counts.get(bucket - 1, 0)
        if total < admission.min_count:
            return False
        if admission.kind != "sketch":
            del self.counts[id]
        return True

    def initial(self, ids):
        """Whole rows of new ids, as they are stored."""
        config = self.config
        segments = [
            (s.dim, s.initializer, _stored_as(s.precision))
            for s in config.segments
        ]
        weights = rows_of_segments(
            config.seed, config.name, segments, tf.constant(ids, tf.int64)
        ).numpy()
        slots = []
        start = 0
        for segment in config.segments:
            part = weights[:, start : start + segment.dim]
            start += segment.dim
            for name, width in slots_of(segment):
                value = np.zeros([len(ids), width])
                if "accumulator" in name and "accumulated" not in name:
                    value += segment.optimizer.initial_accumulator_value
                elif name == "backup":
                    value += part
                slots.append(value)
        return np.concatenate([weights, *slots], axis=1)

    def step(self, ids, gradients, counts, step, time):
        """One update of distinct ids; returns ids and their expected rows."""
        self.clock = max(self.clock, time)
        for id in ids:
            if id in self.rows and self.is_expired(id):
                del self.rows[id]
        is_stepped = np.array(
            [
                id in self.rows or self.admits(id, count, step)
                for id, count in zip(ids, counts, strict=True)
            ]
        )
        new = [
            id
            for id, ok in zip(ids, is_stepped, strict=True)
            if ok and id not in self.rows
        ]
        if new:
            for id, row in zip(new, self.initial(new), strict=True):
                self.rows[id] = (time, row)
        chosen = [i for i, ok in zip(ids, is_stepped, strict=True) if ok]
        if not chosen:
            return {}
        old = np.array([self.rows[id][1] for id in chosen], np.float64)
        expected, margin = self.stepped_rows(old, gradients[is_stepped], step)
        for id, row in zip(chosen, expected, strict=True):
            self.rows[id] = (max(self.rows[id][0], time), row)
        return dict(zip(chosen, margin, strict=True))

    def stepped_rows(self, old, gradients, step):
        config = self.config
        rows, margin = old.copy(), np.zeros_like(old)
        at, slot_at = 0, config.dim
        for segment in config.segments:
            place = slice(at, at + segment.dim)
            at += segment.dim
            slots = []
            for _, width in slots_of(segment):
                slots.append(rows[:, slot_at : slot_at + width])
                slot_at += width
            gradient = gradient_of_weights(
                segment.precision,
                old[:, place],
                gradients[:, place].astype(np.float64),
                step,
            )
            new = stepped(
                segment.optimizer, old[:, place], slots, gradient, step
            )
            rows[:, place] = clipped(segment.precision, new)
            margin[:, place] = rounding_step(segment.precision, new)
        return rows, margin

    def enforce_lru(self):
        """Takes the rows that were longest without an update."""
        for shard in range(self.num_shards):
            cap = self.config.eviction.share(shard, self.num_shards, "max_rows")
            mine = sorted(
                (self.rows[id][0], id)
                for id in self.rows
                if sharding.owner(sharding.partition(id), self.num_shards)
                == shard
            )
            for _, id in mine[: max(0, len(mine) - cap)]:
                del self.rows[id]


def _stored_as(precision):
    """The precision of stored weights, which are not yet one bit."""
    if precision.kind == "onebit":
        return mt.precisions.BFloat16()
    return precision


def slots_of(segment):
    """Name and width of each slot."""
    optimizer = segment.optimizer
    single = {"step", "last_step_high", "last_step_low"}
    return [
        (
            name,
            1
            if name in single or optimizer.kind == "row_wise_adagrad"
            else segment.dim,
        )
        for name in optimizer.slot_names
    ]


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
        **rows,
    )


def is_refused(case):
    """Time is kept in rows that track changes, only."""
    return not case["tracks_changes"] and case["eviction"] not in (
        "none",
        "lowest_norm",
    )


def whole_rows(table):
    return {
        int(id): (int(stamp) & 0xFFFFFFFF, row)
        for ids, stamps, rows in table.export_whole()
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
    read = table.lookup(ids).numpy()
    expected = initial_rows(oracle.config, tf.constant(ids), step).numpy()
    there = [k for k, id in enumerate(ids) if int(id) in found]
    if there:
        weights = np.array([found[int(ids[k])][1] for k in there])
        at = 0
        for segment in oracle.config.segments:
            place = slice(at, at + segment.dim)
            at += segment.dim
            expected[there, place] = stored_weights.values(
                segment.precision, tf.constant(weights[:, place]), step
            )
    assert read.tobytes() == expected.tobytes()


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


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: "-".join(str(v) for v in case.values())
)
def test_a_table_does_what_the_oracle_does(case):
    if is_refused(case):
        with pytest.raises(ValueError, match="tracks_changes=False"):
            make_config(case)
        return
    config = make_config(case)
    with mt.TableSet(num_shards=case["num_shards"]):
        table = mt.Table(config)
    oracle = Oracle(config, case["num_shards"])
    chance = np.random.default_rng(7)
    all_ids = chance.integers(-(2**63), 2**63 - 1, case["num_ids"])
    all_ids[:4] = [0, -1, -(2**63), 2**63 - 1]
    size = case["num_ids"] * 95 // 100
    for step in range(1, NUM_STEPS + 1):
        time = 1000 + 10 * step
        # Most ids come often, the first ones in each step.
        ids = np.r_[all_ids[:8], chance.choice(all_ids[8:], size, replace=True)]
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
        check_members(oracle, found)
        check_rows(oracle, found, margins)
        check_lookup(oracle, table, found, np.r_[all_ids[:40], 12345], step)
        # Goes on from what was stored, so that roundings do not add up.
        oracle.rows = dict(found)
    assert table.size() == len(found) > 0
    check_end(oracle, table, found)


def check_end(oracle, table, found):
    """What is left goes when its time is over, and all else stays."""
    oracle.clock += TTL - 5
    gone = {id for id in found if oracle.is_expired(id)}
    assert table.sweep(event_time=oracle.clock) == len(gone)
    stats = table.stats()
    assert stats.num_rows == len(found) - len(gone)
    assert stats.num_bad_gradients == 0
    went = stats.num_expired + stats.num_capped
    assert stats.num_admitted - went == stats.num_rows
