"""Failpoints: named places in the code where a test can inject a fault.

They are off unless the environment variable MONOLITH_TF_FAIL_AT names them:

    MONOLITH_TF_FAIL_AT=delta_log.after_rename:3:kill,pusher.before_cut::sleep=2

docs/testing.md lists all failpoints. Those of the C++ ops read the same
variable (`ops/cc/failpoints/`). Imports nothing. Start with `points.py`.
"""

from monolith_tf.failpoints.points import FailpointError
from monolith_tf.failpoints.points import fail_at
from monolith_tf.failpoints.points import hit
from monolith_tf.failpoints.spec import Failpoint
from monolith_tf.failpoints.spec import parse

__all__ = ["Failpoint", "FailpointError", "fail_at", "hit", "parse"]
