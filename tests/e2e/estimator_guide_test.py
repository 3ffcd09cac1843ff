"""The guide from tf.estimator runs from top to bottom."""

from __future__ import annotations

import re

import processes


def test_the_snippets_of_the_guide_run(repository_root, tmp_path):
    text = (repository_root / "docs/from-tf-estimator.md").read_text()
    snippets = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(snippets) == 4
    processes.run([*processes.PYTHON, "-c", "\n".join(snippets)], cwd=tmp_path)
