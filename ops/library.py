"""The op library, loaded once."""

from monolith_tf.ops.load import load_library

library = load_library()
