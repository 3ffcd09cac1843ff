"""Memory of tables that a max_bytes caps, before and after a sweep.

    TF_USE_LEGACY_KERAS=1 python benchmarks/capped_memory.py [--mebibytes=1,8]

Three times as many ids as there is room for come in updates of a fiftieth each.
The ceiling is `max_bytes` itself. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common  # noqa: E402
import numpy as np  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402

import monolith_tf as mt  # noqa: E402

_MEBIBYTES = flags.DEFINE_list("mebibytes", ["1", "8", "64"], "Caps, in MiB.")
_DIM = flags.DEFINE_integer("dim", 16, "Floats of a row.", lower_bound=1)
_NUM_UPDATES = 50


def measure(mebibytes: int) -> dict[str, float]:
    """Fills a table up to its cap, and sweeps it.

    Args:
        mebibytes: The cap, in MiB.

    Returns:
        Rows, and what memory was taken, in MiB.
    """
    dim = _DIM.value
    max_bytes = mebibytes << 20
    table = mt.Table(
        mt.TableConfig(
            f"capped_{mebibytes}",
            dim=dim,
            optimizer=mt.optimizers.SGD(1.0),
            eviction=mt.Eviction(max_bytes=max_bytes),
        )
    )
    # A row takes its header of 24 bytes and a part of the index.
    num_new = 3 * max_bytes // (4 * dim + 36) // _NUM_UPDATES
    for update in range(_NUM_UPDATES):
        ids = np.arange(update * num_new, (update + 1) * num_new)
        table.apply_gradients(ids, np.ones([num_new, dim], np.float32))
    before = table.memory_bytes()
    table.sweep()
    stats = table.stats()
    return {
        "max_mib": mebibytes,
        "rows": stats.num_rows,
        "rows_and_index_mib": (stats.arena_bytes + stats.index_bytes) / 2**20,
        "memory_mib_before": before / 2**20,
        "memory_mib_after": stats.memory_bytes / 2**20,
    }


def main(argv: Sequence[str]) -> None:
    """Measures every cap."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    measured = [measure(int(mebibytes)) for mebibytes in _MEBIBYTES.value]
    common.print_table(
        f"Capped tables of dim {_DIM.value}, SGD; MiB",
        [
            ["cap", "rows", "rows and index", "memory before", "after a sweep"],
            *(
                [
                    one["max_mib"],
                    f"{one['rows']:,}",
                    f"{one['rows_and_index_mib']:.2f}",
                    f"{one['memory_mib_before']:.1f}",
                    f"{one['memory_mib_after']:.1f}",
                ]
                for one in measured
            ),
        ],
    )
    common.print_json({"dim": _DIM.value, "caps": measured})


if __name__ == "__main__":
    app.run(main)
