"""The tree itself: nothing of one machine in it, no file for two nouns."""

from __future__ import annotations

import re

import hypothesis
import pytest

# Written in parts, so that this file does not name what it looks for.
MACHINE_PATHS = re.compile(
    "|".join(
        rf"(?<![\w.]){re.escape('/' + folder)}/"
        for folder in ("home", "root", "opt", "Users", "work", "tmp/plan")
    )
)
REGISTRIES = re.compile("index" + "-url|find" + r"-links|://[^\s/]*py" + "pi")
LONGEST_FILE = 500  # lines


def text_of(path):
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRIES])
def test_no_file_names_a_path_or_a_registry_of_one_machine(
    tracked_files, repository_root, pattern
):
    found = [
        f"{path.relative_to(repository_root)}:{number}: {line.strip()}"
        for path in tracked_files
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


def test_no_source_file_is_longer_than_one_noun_needs(tracked_files):
    long = [
        path.name
        for path in tracked_files
        if path.suffix in {".py", ".cc", ".h"}
        and len(text_of(path).splitlines()) > LONGEST_FILE
    ]
    assert not long


def test_hypothesis_draws_the_same_examples_in_every_run(
    tracked_files, repository_root
):
    assert hypothesis.settings.default.derandomize
    random = [
        str(path.relative_to(repository_root))
        for path in tracked_files
        if path.suffix == ".py"
        and re.search(r"derandomize\s*=\s*" + "False", text_of(path))
    ]
    assert not random


def test_the_lock_files_pin_every_version(repository_root):
    for name in ("locked.txt", "newest.txt"):
        lines = (repository_root / "requirements" / name).read_text()
        for line in lines.splitlines():
            assert re.fullmatch(r"#.*|[a-z0-9-]+==[\w.]+", line), line


def own_test_of(module):
    """The path of the test that has the name of a module."""
    parts = module.split("/")
    if parts[0] == "monolith_tf":
        parts = parts[1:]
    return "/".join(["tests", *parts]).removesuffix(".py") + "_test.py"


def indexed_tests(root):
    """Tests by module, from tests/INDEX."""
    tests_of, module = {}, None
    for line in (root / "tests/INDEX").read_text().splitlines():
        if line.startswith("    "):
            tests_of[module].append(f"tests/{line.strip()}")
        elif line and not line.startswith("#"):
            module = line
            tests_of[module] = []
    return tests_of


@pytest.fixture(scope="module")
def modules(tracked_files, repository_root):
    paths = [str(p.relative_to(repository_root)) for p in tracked_files]
    return {
        path
        for path in paths
        if re.match("(monolith_tf|ops|estimators|serving)/.*[.]py$", path)
        # It lists names: tests/import_test.py.
        and not path.endswith("/__init__.py")
    }


def test_every_module_has_a_test_of_its_name_or_a_line_in_the_index(
    modules, repository_root
):
    indexed = indexed_tests(repository_root)
    without = [
        module
        for module in sorted(modules - indexed.keys())
        if not (repository_root / own_test_of(module)).exists()
    ]
    assert not without, (
        "Each module needs a test tests/<room>/<stem>_test.py, or a line in"
        f" tests/INDEX that says which test to read. Received: {without}."
    )


def test_every_line_of_the_index_names_a_module_and_its_tests(
    modules, repository_root
):
    indexed = indexed_tests(repository_root)
    assert list(indexed) == sorted(indexed)
    assert not sorted(indexed.keys() - modules)
    for module, tests in indexed.items():
        assert tests, module
        for test in tests:
            assert (repository_root / test).exists(), f"{module}: {test}"


@pytest.mark.parametrize(
    ("module", "test"),
    [
        ("monolith_tf/table.py", "tests/table_test.py"),
        ("monolith_tf/step/lookup.py", "tests/step/lookup_test.py"),
        ("serving/graph/growth.py", "tests/serving/graph/growth_test.py"),
        ("ops/load.py", "tests/ops/load_test.py"),
    ],
)
def test_the_test_of_a_module_lies_in_its_room(module, test):
    assert own_test_of(module) == test


def test_at_the_root_of_tests_are_tests_of_root_modules_only(
    modules, repository_root
):
    at_root = {path.name for path in (repository_root / "tests").glob("*.py")}
    roots = {
        own_test_of(module).removeprefix("tests/")
        for module in modules
        if module.startswith("monolith_tf/") and module.count("/") == 1
    }
    assert at_root <= roots | {"import_test.py"}


def test_the_folder_e2e_has_only_tests_that_start_processes(repository_root):
    folder = repository_root / "tests/e2e"
    starts = re.compile(r"processes\b|cluster_run|Popen|ChildProcess")
    assert not [
        path.name
        for path in folder.glob("*_test.py")
        if not starts.search(path.read_text())
    ]
