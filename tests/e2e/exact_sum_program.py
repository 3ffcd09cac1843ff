"""Workers add multiples of powers of two to the same rows at once.

python exact_sum_program.py DIRECTORY ROUNDS

A chief under TF_CONFIG. It prints a line a round, and writes to
DIRECTORY/report.json whether each row is the sum of what was sent, once.
"""

import collections
import json
import os
import pathlib
import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt

STEPS = 40
DIM = 4


def main():
    """Trains and compares."""
    directory, num_rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    strategy = mt.cluster.parameter_server_strategy()
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        table = mt.Table(
            mt.TableConfig(
                "exact",
                dim=DIM,
                optimizer=mt.optimizers.SGD(0.5),
                initializer=mt.initializers.Zeros(),
            )
        )
        optimizer = mt.optimizers.with_tables("sgd")
        optimizer.build(table.trainable_variables)

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.int64),
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, DIM], tf.float32),
        ]
    )
    def step(number, ids, weights):
        def replica(number, ids, weights):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(table.lookup(ids) * weights)
            gradient = tape.gradient(loss, table.trainable_variables[0])
            with mt.request_id(number):
                optimizer.apply_gradients(
                    [(gradient, table.trainable_variables[0])]
                )
            return loss

        return strategy.run(replica, args=(number, ids, weights))

    random = np.random.default_rng(0)
    expected = collections.defaultdict(lambda: np.zeros(DIM, np.float32))
    hit_by = collections.defaultdict(set)
    number = 0
    for round_number in range(num_rounds):
        scheduled = []
        for _ in range(STEPS):
            length = int(random.integers(1, 300))
            ids = random.integers(-400, 400, length)
            weights = random.integers(-4, 5, (length, DIM)) / np.float32(8)
            for one, weight in zip(ids.tolist(), weights, strict=True):
                expected[one] -= np.float32(0.5) * weight
            result = coordinator.schedule(
                step,
                args=(
                    tf.constant(number, tf.int64),
                    tf.constant(ids),
                    tf.constant(weights, tf.float32),
                ),
            )
            scheduled.append((result, set(ids.tolist())))
            number += 1
        coordinator.join()
        for result, ids in scheduled:
            (loss,) = tf.nest.flatten(result._get_values())
            for one in ids:
                hit_by[one].add(loss.backing_device)
        print(f"round {round_number + 1}", flush=True)
    ids = sorted(expected)
    sums = np.stack([expected[one] for one in ids])
    counts = mt.metrics.request_counts(table)
    report = {
        "rows": table.size(),
        "expected_rows": len(ids),
        "wrong_rows": int((table.lookup(ids).numpy() != sums).any(1).sum()),
        "shared": sum(len(by) > 1 for by in hit_by.values()) / len(ids),
        "workers": len(set().union(*hit_by.values())),
        "steps": number,
        "applied": counts.applied,
        "repeated": counts.repeated,
    }
    (directory / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
    # TensorFlow's coordinator may wait forever at the end of the interpreter
    # for its thread that waits for a worker that was killed.
    sys.stdout.flush()
    os._exit(0)
