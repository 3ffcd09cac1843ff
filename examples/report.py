"""Report of the demo, for people and for programs."""

from __future__ import annotations

import json
import math
from typing import Any


def to_json_line(report: dict[str, Any]) -> str:
    """Returns the report as one line of JSON; NaN becomes null."""
    return json.dumps(_without_nan(report), allow_nan=False)


def summary(report: dict[str, Any]) -> str:
    """Returns the report as a few lines of text."""
    speed, freshness = report["examples_per_second"], report["freshness"]
    pushed, auc = report["deltas"], report["auc"]
    rows = "  ".join(
        f"{name} {count:,}" for name, count in sorted(report["rows"].items())
    )
    lines = [
        f"{report['data']}, seed {report['seed']}: "
        f"{report['examples']['batch']:,} ratings in batch, "
        f"{report['examples']['online']:,} online; "
        f"{report['seconds']:.0f} s in all",
        "",
        f"  examples/s   batch {speed['batch']:,.0f}   "
        f"online {speed['online']:,.0f} (scored twice and trained on)",
        f"  rows         {rows}",
        f"  deltas       {pushed['deltas']:,} in {pushed['chunks']:,} "
        f"requests, {pushed['rows']:,} rows, {pushed['bytes']:,} bytes; "
        f"{pushed['resyncs']} resyncs",
        f"  freshness    p50 {freshness['p50_seconds']:.3f} s   "
        f"p99 {freshness['p99_seconds']:.3f} s   "
        f"max {freshness['max_seconds']:.3f} s   "
        f"({freshness['rows']} rows, {freshness['new_rows']} of new ids)",
        "",
        "  AUC of the same requests               live     frozen   requests",
    ]
    for name, key in (
        ("all", "all"),
        ("with an id unseen in the batch half", "unseen"),
    ):
        part = auc[key]
        lines.append(
            f"  {name:<36}  {part['live']:.4f}   {part['frozen']:.4f}   "
            f"{part['requests']:,}"
        )
    lines += [
        "",
        f"  plot         {report['plot']}",
        f"  logs         {report['logs']}",
    ]
    return "\n".join(lines)


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
