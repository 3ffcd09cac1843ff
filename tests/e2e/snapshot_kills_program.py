"""Saves snapshots of a counting model, or checks the newest one.

python snapshot_kills_program.py save DIRECTORY STEPS
python snapshot_kills_program.py check DIRECTORY

Rows and the dense variable count the steps: at a snapshot all are equal.
`save` prints the step of each snapshot that is durable. `check` prints the step
of the snapshot that a restore takes.
"""

import sys

import tensorflow as tf

import monolith_tf as mt

IDS = tf.range(500, dtype=tf.int64)


def main():
    """Runs one of the two."""
    action, directory = sys.argv[1:3]
    with mt.TableSet(num_shards=2):
        table = mt.Table(
            mt.TableConfig(
                "movie",
                dim=2,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
        )
    steps = tf.Variable(0, dtype=tf.int64)
    root = tf.train.Checkpoint(table=table, steps=steps)
    manifest = mt.snapshots.restore(root, directory)
    first = 0 if manifest is None else manifest.step
    assert int(steps) == first, (int(steps), first)
    assert (table.lookup(IDS).numpy() == -first).all(), first
    print("restored", first, flush=True)
    if action == "check":
        return
    writer = mt.snapshots.SnapshotWriter(root, directory, keep=2, full_every=3)
    for step in range(first + 1, first + 1 + int(sys.argv[3])):
        table.apply_gradients(IDS, tf.ones([500, 2]))
        steps.assign_add(1)
        try:
            writer.save(step)
        except (OSError, tf.errors.OpError) as error:
            print("failed", step, type(error).__name__, flush=True)
        else:
            print("durable", step, flush=True)


if __name__ == "__main__":
    main()
