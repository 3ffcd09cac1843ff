"""A custom training loop on parameter servers, with request ids.

monolith-tf launch --num_ps=2 --num_workers=2 examples/pss_custom_loop.py DIR
"""

import argparse
import pathlib

import numpy as np
import tensorflow as tf

import monolith_tf as mt

STEPS = 100  # from one checkpoint to the next


def main():
    """Trains, or resumes from the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model_dir", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    with mt.cluster.exit_for_restart():
        strategy = mt.cluster.parameter_server_strategy()
        coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        with strategy.scope():
            adagrad = mt.optimizers.Adagrad(0.5)
            table = mt.Table(mt.TableConfig("item", 4, optimizer=adagrad))
            bias = tf.Variable(0.0)
            optimizer = mt.optimizers.with_tables("adam")
            optimizer.build([*table.trainable_variables, bias])

        @tf.function
        def step(number, ids, labels):
            def replica(number, ids, labels):
                with tf.GradientTape() as tape:
                    logits = tf.reduce_sum(table.lookup(ids), axis=1) + bias
                    loss = tf.reduce_mean((tf.sigmoid(logits) - labels) ** 2)
                variables = [*table.trainable_variables, bias]
                gradients = tape.gradient(loss, variables)
                # If a worker is lost, the coordinator runs this again.
                with mt.request_id(number):
                    optimizer.apply_gradients(
                        zip(gradients, variables, strict=True)
                    )
                return loss

            return strategy.run(replica, (number, ids, labels))

        rounds = tf.Variable(0, trainable=False)
        manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                table=table, bias=bias, optimizer=optimizer, rounds=rounds
            ),
            str(arguments.model_dir),
            max_to_keep=2,
        )
        manager.restore_or_initialize()
        random = np.random.default_rng(int(rounds))
        while int(rounds) < arguments.rounds:
            losses = []
            for number in range(STEPS):
                ids = random.integers(0, 500, random.integers(16, 64))
                labels = (ids % 2).astype(np.float32)
                request = tf.constant(int(rounds) * STEPS + number, tf.int64)
                batch = (request, tf.constant(ids), tf.constant(labels))
                losses.append(coordinator.schedule(step, args=batch))
            coordinator.join()
            rounds.assign_add(1)
            manager.save()
            mean = np.mean([loss.fetch() for loss in losses])
            print(f"round {int(rounds)}: loss {mean:.3f}", flush=True)
        print(f"rows {table.size()}, {mt.metrics.request_counts(table)}")


if __name__ == "__main__":
    main()
