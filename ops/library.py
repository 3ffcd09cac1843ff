"""The op library, loaded once."""

from tensorflow.python.framework import auto_control_deps_utils

from monolith_tf.ops.load import load_library

library = load_library()

# The op takes the handle of a variable but does not read it, so its uses need
# no order.
auto_control_deps_utils.register_read_only_resource_op("MonolithAttach")
