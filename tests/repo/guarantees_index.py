"""Generates the index of tests in docs/guarantees.md.

python tests/repo/guarantees_index.py writes the index; guarantees.txt in this
folder is its source. Tests are found by name, wherever they are.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

SOURCE = "tests/repo/guarantees.txt"
PAGE = "docs/guarantees.md"
COMMAND = "python tests/repo/guarantees_index.py"
BEGIN = "<!-- index of tests: begin -->\n"
END = "<!-- index of tests: end -->\n"

_PYTHON_TEST = re.compile(r"^ *def (test_\w+)\(", re.MULTILINE)
_CPP_TEST = re.compile(r"\bTEST(?:_[FP])?\(\s*\w+,\s*(\w+)\)")


def tests_by_name(root: Path) -> dict[str, list[str]]:
    """Paths, below `root`, of each test and of each stem of a test file."""
    found = defaultdict(set)
    for path in sorted((root / "tests").rglob("*_test.*")):
        pattern = {".py": _PYTHON_TEST, ".cc": _CPP_TEST}.get(path.suffix)
        if pattern is None:
            continue
        for name in [path.stem, *pattern.findall(path.read_text())]:
            found[name].add(path.relative_to(root).as_posix())
    return {name: sorted(paths) for name, paths in found.items()}


def claims(source: str) -> dict[str, dict[str, list[str]]]:
    """Tests by claim by heading, from the text of guarantees.txt."""
    headings = {}
    for line in source.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("== "):
            tests_of = headings.setdefault(line[3:].strip(), {})
        elif not line.startswith(" "):
            tests = tests_of.setdefault(line.strip(), [])
        else:
            tests.append(line.strip())
    return headings


def resolve(test: str, paths_of: dict[str, list[str]]) -> list[str]:
    """Links to a test of guarantees.txt.

    Raises:
        ValueError: No test has this name.
    """
    name, _, part = test.partition(" in ")
    paths = [path for path in paths_of.get(name, []) if part in path]
    if not paths:
        raise ValueError(
            f"{SOURCE} must name tests that exist. Received: {test!r}. "
            f"Write the new name of the test, then run `{COMMAND}`."
        )
    return [f"[{name}](../{path})" for path in paths]


def index(source: str, paths_of: dict[str, list[str]]) -> str:
    """The Markdown of the index, without its markers."""
    lines = []
    for heading, tests_of in claims(source).items():
        lines += ["", f"### Tests of {heading}", ""]
        lines += ["| claim | test |", "| --- | --- |"]
        for claim, tests in tests_of.items():
            links = [link for test in tests for link in resolve(test, paths_of)]
            lines += [
                f"| {claim if number == 0 else ''} | {link} |"
                for number, link in enumerate(links)
            ]
    return "\n".join(lines) + "\n\n"


def with_index(page: str, text: str) -> str:
    """The page with `text` between the markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + text + END + after


def main() -> None:
    """Writes the index into the page."""
    root = Path(__file__).resolve().parents[2]
    page = root / PAGE
    text = index((root / SOURCE).read_text(), tests_by_name(root))
    page.write_text(with_index(page.read_text(), text))


if __name__ == "__main__":
    sys.exit(main())
