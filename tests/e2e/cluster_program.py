"""Starts one cluster, and runs on it what several test modules look at.

python cluster_program.py DIRECTORY

The cluster has two parameter servers and two workers. DIRECTORY holds
checkpoints `shards-1` and `shards-3`. Each part writes DIRECTORY/<part>.json:
what it found, or under "error" the traceback that ended it.
"""

import json
import pathlib
import sys
import traceback

import delta_push_pss_program
import export_pss_program
import parameter_server_failure_program
import parameter_server_program
import server_memory_program
import slow_worker_program
import tensorflow as tf

import monolith_tf as mt

# The last part leaves the cluster without a server.
PARTS = {
    "training": parameter_server_program,
    "export": export_pss_program,
    "delta_push": delta_push_pss_program,
    "server_memory": server_memory_program,
    "slow_worker": slow_worker_program,
    "failure": parameter_server_failure_program,
}


def main():
    """Runs every part."""
    directory = pathlib.Path(sys.argv[1])
    with mt.cluster.LocalCluster(
        num_ps=2, num_workers=2, start_timeout_seconds=600.0
    ) as cluster:
        strategy = tf.distribute.ParameterServerStrategy(
            cluster.cluster_resolver
        )
        coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
        for name, part in PARTS.items():
            try:
                found = part.run(cluster, strategy, coordinator, directory)
            except Exception:  # The other parts have tests of their own.
                found = {"error": traceback.format_exc()}
            (directory / f"{name}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
