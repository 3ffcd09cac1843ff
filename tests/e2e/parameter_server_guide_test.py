"""The program of the guide to parameter servers runs, and does what it says."""

import json
import re

import pytest

import processes

SNIPPET = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What the test wants to know of the program at its end.
REPORT = """
import json
parts = [list(v.shape) for v in model.layers[2].weights]
print("REPORT", json.dumps({
    "rate": float(rate),
    "keras_rate": float(model.optimizer.learning_rate),
    "parts": parts,
    "steps": int(model.optimizer.iterations),
    "rows": model.layers[1].table.size(),
    "latest": checkpoints.latest,
    "narrow_rows": narrow.layers[0].table.size(),
    "narrow_steps": int(narrow.optimizer.iterations),
}))
"""


@pytest.fixture(scope="module")
def said(repository_root, tmp_path_factory):
    """Returns the output of the chief of the guide's program."""
    text = (repository_root / "docs/parameter-servers.md").read_text()
    folder = tmp_path_factory.mktemp("guide")
    (folder / "train.py").write_text("\n".join(SNIPPET.findall(text)) + REPORT)
    return processes.run(
        [
            *(*processes.MONOLITH_TF, "launch"),
            *("--num_ps=2", "--num_workers=2", "--log_dir=logs", "--metrics"),
            *("train.py", folder / "trained"),
        ],
        cwd=folder,
    ).stdout


@pytest.fixture(scope="module")
def report(said):
    (line,) = [line for line in said.splitlines() if "REPORT" in line]
    return json.loads(line.partition(" ")[2])


def test_the_pipelined_model_of_a_narrow_wire_trained_too(report):
    assert report["narrow_steps"] == 20
    assert 90 <= report["narrow_rows"] <= 100


def test_the_table_learned_at_the_rate_of_the_last_epoch(report):
    assert report["rate"] == pytest.approx(10 * 0.01 / 4)
    # With the best epoch came back its rate; which one that is, is open.
    best = report["keras_rate"]
    assert any(best == pytest.approx(0.01 / n) for n in (1, 2, 3, 4))


def test_the_large_dense_weight_lies_on_both_servers(report):
    # [16, 8192] floats are 512 KiB, a bias is too small to split.
    assert report["parts"] == [[8, 8192], [8, 8192], [8192]]


def test_fit_and_the_loop_made_their_steps(said, report):
    assert report["latest"].endswith("ckpt-4")
    # The best epoch may not be the last; then 20 of the loop.
    assert report["steps"] % 20 == 0
    assert 40 <= report["steps"] <= 100
    assert report["rows"] == 100
    assert re.search(r"evaluated: \[[\d.e-]+, (1\.0|0\.9\d*)\]", said)
    assert re.search(r"applied=\(100, 100\), repeated=\(0, 0\)", said)
