"""Lets TensorFlow's profiler ask a server of a cluster; imported by it.

Writes the port into the folder that `MONOLITH_TF_PROFILER_PORTS` names, as
`<role>-<index>`.
"""

import json
import os
import pathlib
import socket

import tensorflow as tf


def _serve() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    tf.profiler.experimental.server.start(port)
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    folder = pathlib.Path(os.environ["MONOLITH_TF_PROFILER_PORTS"])
    (folder / f"{task['type']}-{task['index']}").write_text(str(port))


_serve()
