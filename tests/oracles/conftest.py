"""The oracle of the matrix: a dict of rows, and NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement import sharding
from monolith_tf.stock_ops import hashing
from monolith_tf.stock_ops.initial_rows import rows_of_segments


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
    """Returns the gradient as a precision transforms it.

    The lookup came before update number `step`, after `step - 1` of them.
    """
    num_done = step - 1
    limit = np.inf
    if precision.kind == "int8":
        limit = precision.range
    elif precision.kind == "onebit" and num_done >= precision.anneal_steps:
        limit = precision.amplitude
    elif precision.kind == "onebit":
        # It returned a tanh(x), x = beta w / a, whose derivative by w is
        # beta / cosh(x)^2, cosh(x) = (exp(x) + exp(-x)) / 2.
        beta = precision.anneal_steps / (precision.anneal_steps - num_done)
        x = beta * weights / precision.amplitude
        gradients = gradients * beta * 4 / (np.exp(x) + np.exp(-x)) ** 2
        if precision.bytes_per_weight == 1:
            limit = precision.amplitude
    if precision.bytes_per_weight == 1:
        # The last level is not the end to the last bit.
        limit = limit * (1 - 1e-6)
    is_outward = (np.abs(weights) >= limit) & (weights * gradients < 0)
    return np.where(is_outward, 0, gradients)


def rounding_step(precision, weights):
    """The distance between two numbers that can be stored, at most."""
    if precision.bytes_per_weight == 1:
        return 0 * weights + _stored_as(precision).range / 127
    return {
        "float32": 0 * weights,
        "bfloat16": np.abs(weights) / 128,
        "onebit": np.abs(weights) / 128,
        "float16": np.abs(weights) / 1024 + 2.0**-24,
    }[precision.kind]


def clipped(precision, weights):
    if precision.bytes_per_weight != 1:
        return weights
    limit = _stored_as(precision).range
    return np.clip(weights, -limit, limit)


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
    if precision.kind != "onebit":
        return precision
    if precision.bytes_per_weight == 1:
        return mt.precisions.Int8(precision.amplitude)
    return mt.precisions.BFloat16()


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


@pytest.fixture
def make_oracle():
    return Oracle
