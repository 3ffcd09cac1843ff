"""Failpoints: each is in the table, and no file changes without one."""

from __future__ import annotations

import ast
import collections
import re

import pytest

FOLDERS = ("monolith_tf", "ops", "serving", "estimators")
NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
CPP_HIT = re.compile(r"\bFailAt\(\s*\"([^\"]*)\"")
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+/[^`]+)` \| .+ \|$", re.MULTILINE)
# Calls that change a file or make it durable, by their last names.
ALWAYS_CHANGE = {
    *("fsync", "fdatasync", "rename", "truncate", "rmtree", "unlink"),
    *("write_text", "write_bytes"),
}
OPENING = {"open", "GFile"}


def called_name(call):
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else function.id


def hits(tree):
    """Yields the argument of each hit of a failpoint."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "hit"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "failpoints"
        ):
            (argument,) = node.args
            yield argument.value if isinstance(argument, ast.Constant) else None


def changes_files(call):
    """Returns True for a call that writes, renames, syncs or removes files."""
    if not isinstance(call.func, (ast.Attribute, ast.Name)):
        return False
    name = called_name(call)
    if name in OPENING:
        modes = [a.value for a in call.args[1:] if isinstance(a, ast.Constant)]
        return any(set(str(mode)) & set("wax+") for mode in modes)
    if name in ("remove", "replace"):
        # Of `os`, not of a list or a string.
        return ast.unparse(call.func).startswith("os.")
    return name in ALWAYS_CHANGE


def functions_without_failpoint(source):
    """Names of the functions that change files and have no failpoint."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and any(
            isinstance(inner, ast.Call) and changes_files(inner)
            for inner in ast.walk(node)
        )
        and not any(hits(node))
    ]


@pytest.fixture(scope="module")
def python_sources(repository_root):
    return {
        path.relative_to(repository_root).as_posix(): path.read_text()
        for folder in FOLDERS
        for path in sorted((repository_root / folder).rglob("*.py"))
        if path.parent.name != "failpoints"
    }


@pytest.fixture(scope="module")
def in_code(repository_root, python_sources):
    """(name, file) of every failpoint in the code."""
    found = [
        (name, path)
        for path, text in python_sources.items()
        for name in hits(ast.parse(text))
    ]
    for path in sorted((repository_root / "ops/cc").rglob("*.*")):
        if path.suffix in (".cc", ".h") and path.parent.name != "failpoints":
            found += [
                (name, path.relative_to(repository_root).as_posix())
                for name in CPP_HIT.findall(path.read_text())
            ]
    return found


@pytest.fixture(scope="module")
def in_table(repository_root):
    text = (repository_root / "docs/testing.md").read_text()
    section = text.partition("\n## Failpoints\n")[2].partition("\n## ")[0]
    return ROW.findall(section)


def test_the_table_lists_exactly_the_failpoints_of_the_code(in_code, in_table):
    assert len(in_code) > 40
    assert sorted(in_table) == sorted(in_code)
    assert in_table == sorted(in_table)


def test_the_name_of_a_failpoint_is_a_literal_of_one_place(in_code):
    counts = collections.Counter(name for name, _ in in_code)
    for name, count in counts.items():
        assert name and NAME.fullmatch(name), (name, in_code)
        assert count == 1, name


def test_every_function_that_changes_files_has_a_failpoint(python_sources):
    broken = [
        f"{path}: {name}"
        for path, text in python_sources.items()
        for name in functions_without_failpoint(text)
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("body", "is_broken"),
    [
        ("os.rename(a, b)", True),
        ("os.replace(a, b)", True),
        ("text.replace(a, b)", False),
        ("os.fsync(descriptor)", True),
        ("os.remove(a)", True),
        ("names.remove(a)", False),
        ("path.write_text(a)", True),
        ("shutil.rmtree(a)", True),
        ("tf.io.gfile.rename(a, b)", True),
        ("tf.io.gfile.GFile(a, 'w')", True),
        ("tf.io.gfile.GFile(a)", False),
        ("open(a, 'rb')", False),
        ("open(a, 'r+b')", True),
        ("open(a)", False),
        ("failpoints.hit('a.b')\n    os.rename(a, b)", False),
    ],
)
def test_the_rule_itself(body, is_broken):
    found = functions_without_failpoint(f"def change(a, b):\n    {body}\n")
    assert bool(found) is is_broken
