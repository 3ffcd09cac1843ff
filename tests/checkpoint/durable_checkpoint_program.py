"""Saves four checkpoints and says after each that it is there.

python durable_checkpoint_program.py DIRECTORY FILE
"""

import pathlib
import sys

import tensorflow as tf

from monolith_tf.checkpoint.durable_checkpoint import DurableCheckpoint


def main():
    """Writes the number of the last checkpoint to FILE."""
    number = tf.Variable(0, dtype=tf.int64)
    manager = tf.train.CheckpointManager(
        DurableCheckpoint(number=number), sys.argv[1], 2
    )
    for step in range(1, 5):
        number.assign(step)
        manager.save(step)
        pathlib.Path(sys.argv[2]).write_text(str(step))


if __name__ == "__main__":
    main()
