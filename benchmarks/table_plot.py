"""Draws the figures of `benchmarks/table.py`."""

from __future__ import annotations

import table_report

# A peer has one color in all pictures.
_COLORS = {
    "raw": "#0b5394",
    "table": "#3d85c6",
    "ready": "#741b47",
    "untracked": "#9fc5e8",
    "tfra": "#e69138",
    "dense": "#38761d",
    "sparse_apply": "#93c47d",
    "keras": "#8e7cc3",
}
_MOST_ROWS = 16


def plot(record: dict, path: str) -> None:
    """Draws rates with the ceiling, and the pauses of growing tables.

    Args:
        record: Of `table.Benchmark`, with the summary.
        path: The picture to write; its end says what kind.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    clock = record["clock"]
    rows = record["throughput"][:_MOST_ROWS]
    growth = record["growth"]
    heights = ([1.5 + 0.75 * len(rows)] if rows else []) + (
        [4.0] if growth else []
    )
    if not heights:
        raise ValueError(
            "Nothing to draw: --measures has neither throughput nor growth."
        )
    figure, axes = pyplot.subplots(
        len(heights),
        1,
        figsize=(10, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    remaining = list(axes[:, 0])
    if rows:
        _draw_rates(remaining.pop(0), rows, clock)
    if growth:
        _draw_growth(remaining.pop(0), growth, clock)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _draw_rates(axis, rows: list[dict], clock: str) -> None:
    peers = [
        peer
        for peer in table_report.PEERS
        if any(peer in row[clock]["rates"] for row in rows)
    ]
    width = 0.8 / len(peers)
    for peer in peers:
        places, rates, errors = [], [], ([], [])
        for place, row in enumerate(rows):
            present = [p for p in peers if p in row[clock]["rates"]]
            if peer not in present:
                continue
            # The bars of a row are grouped around its tick.
            number = present.index(peer) + 0.5 - len(present) / 2
            rate = row[clock]["rates"][peer]
            places.append(place + number * width)
            rates.append(rate["median"])
            errors[0].append(rate["median"] - rate["least"])
            errors[1].append(rate["most"] - rate["median"])
        axis.barh(
            places,
            rates,
            width,
            xerr=errors,
            error_kw={"elinewidth": 0.6, "ecolor": "#555555"},
            color=_COLORS[peer],
            label=peer,
        )
    is_first = True
    for place, row in enumerate(rows):
        if row["ceiling"]:
            axis.plot(
                [row["ceiling"][clock]["rate"]] * 2,
                [place - 0.4, place + 0.4],
                color="black",
                linewidth=1.5,
                label="memory ceiling of raw" if is_first else None,
            )
            is_first = False
    axis.set_yticks(
        range(len(rows)),
        [
            table_report.name_of(row) + f", {row['threads']} thr."
            for row in rows
        ],
        fontsize=8,
    )
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="x", color="#dddddd")
    axis.set_axisbelow(True)
    axis.set_xlabel(
        "million ids a second"
        + (" of processor time" if clock == "cpu" else "")
        + "; thin lines: least and most of turns"
    )
    axis.legend(fontsize=8)


def _draw_growth(axis, growth: list[dict], clock: str) -> None:
    largest = max(row["ids"] for row in growth)
    for row in growth:
        # One picture: the largest tables of the first sizes.
        if row["ids"] != largest or (row["dim"], row["optimizer"]) != (
            growth[0]["dim"],
            growth[0]["optimizer"],
        ):
            continue
        seconds = row["seconds"][clock]
        axis.plot(
            [row["batch"] * (i + 1) / 1e6 for i in range(len(seconds))],
            [1e3 * value for value in seconds],
            ".",
            markersize=3,
            color=_COLORS[row["peer"]],
            label=f"{row['peer']}, {row[clock]['rate']:.1f} M ids/s",
        )
    axis.set_yscale("log")
    axis.grid(color="#dddddd")
    axis.set_axisbelow(True)
    axis.set_xlabel(f"million ids in the table (dim {growth[0]['dim']})")
    axis.set_ylabel(f"ms per batch of {growth[0]['batch']} new ids")
    axis.legend(fontsize=8)
