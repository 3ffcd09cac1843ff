"""Private attributes are read where they are defined, and nowhere else."""

from __future__ import annotations

import ast
import collections

import pytest

ROOTS = ("monolith_tf", "ops", "serving", "estimators")


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names(tree):
    """Names of private attributes, methods and fields that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.AnnAssign | ast.Attribute):
            target = getattr(node, "target", node)
            is_field = isinstance(target, ast.Name)
            is_set = isinstance(getattr(target, "ctx", None), ast.Store)
            names = [target.id if is_field else target.attr] if is_set else []
        else:
            names = []
        yield from filter(is_private, names)


def private_reads(tree):
    """Yields line and name of private attributes of other objects."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not is_private(node.attr):
            continue
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id in ("self", "cls"):
            continue
        yield node.lineno, node.attr


def broken_rules(trees):
    """Says which file reads what only other files of `trees` define."""
    homes = collections.defaultdict(set)
    for path, tree in trees.items():
        for name in private_names(tree):
            homes[name].add(path)
    for path, tree in trees.items():
        for line, name in private_reads(tree):
            if homes[name] and path not in homes[name]:
                yield f"{path}:{line} reads {name} of {sorted(homes[name])}"


@pytest.mark.slow
def test_no_file_reads_a_private_field_of_another_file(repository_root):
    trees = {
        str(path.relative_to(repository_root)): ast.parse(path.read_text())
        for root in ROOTS
        for path in sorted((repository_root / root).rglob("*.py"))
    }
    assert len(trees) > 100
    broken = list(broken_rules(trees))
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("source", "is_broken"),
    [
        ("other._step", True),
        ("other._steps()", True),
        ("self._step", False),
        ("other.__dict__", False),
        ("other._of_tensorflow", False),
        ("class B:\n  _step: int\nother._step", False),
    ],
)
def test_the_rule_itself(source, is_broken):
    trees = {
        "a.py": ast.parse(
            "class A:\n"
            "  def __init__(self):\n    self._step = 1\n"
            "  def _steps(self):\n    return 1\n"
        ),
        "b.py": ast.parse(source),
    }
    assert bool(list(broken_rules(trees))) is is_broken
