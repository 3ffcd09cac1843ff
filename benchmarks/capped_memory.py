"""Memory of tables that a max_bytes caps, before and after a sweep.

Three times as many ids as there is room for come in updates of a fiftieth each.
"""

from __future__ import annotations

import numpy as np

import monolith_tf as mt

DIM = 16
NUM_UPDATES = 50


def main():
    """Prints one line a cap."""
    for mebibytes in (1, 8, 64):
        max_bytes = mebibytes << 20
        table = mt.Table(
            mt.TableConfig(
                f"capped_{mebibytes}",
                dim=DIM,
                optimizer=mt.optimizers.SGD(1.0),
                eviction=mt.Eviction(max_bytes=max_bytes),
            )
        )
        num_new = 3 * max_bytes // 100 // NUM_UPDATES
        for update in range(NUM_UPDATES):
            ids = np.arange(update * num_new, (update + 1) * num_new)
            table.apply_gradients(ids, np.ones([num_new, DIM], np.float32))
        before = table.memory_bytes()
        table.sweep()
        stats = table.stats()
        counted = stats.arena_bytes + stats.index_bytes
        print(
            f"max_bytes {mebibytes} MiB: {stats.num_rows:,} rows, "
            f"rows and index {counted / 2**20:.2f} MiB after a sweep, "
            f"memory_bytes {before / 2**20:.1f} before, "
            f"{table.memory_bytes() / 2**20:.1f} after"
        )


if __name__ == "__main__":
    main()
