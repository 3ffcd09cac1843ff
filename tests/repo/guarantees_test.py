"""docs/guarantees.md has a current index of tests, and tables of facts."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

LONGEST_CELL = 300  # characters


def load_generator():
    path = Path(__file__).with_name("guarantees_index.py")
    spec = importlib.util.spec_from_file_location("guarantees_index", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = load_generator()


@pytest.fixture(scope="module")
def page(repository_root):
    return (repository_root / generator.PAGE).read_text()


@pytest.fixture(scope="module")
def source(repository_root):
    return (repository_root / generator.SOURCE).read_text()


@pytest.fixture(scope="module")
def paths_of(repository_root):
    return generator.tests_by_name(repository_root)


def test_the_index_is_current(page, source, paths_of):
    expected = generator.with_index(page, generator.index(source, paths_of))
    assert page == expected, f"Run `{generator.COMMAND}`."


def test_every_contract_has_tests(page, source):
    prose, _, _ = page.partition("\n## Index of tests")
    contracts = re.findall(r"^##+ (.*)$", prose, re.MULTILINE)
    tests_of = generator.claims(source)
    assert list(tests_of) == contracts
    for heading, claims in tests_of.items():
        assert claims, heading
        assert all(claims.values()), heading


def test_a_name_without_a_test_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"Received: 'test_gone in ops'"):
        generator.resolve(
            "test_gone in ops", {"test_gone": ["tests/a_test.py"]}
        )


def test_tests_are_found_by_name_in_python_and_in_cpp(tmp_path):
    folder = tmp_path / "tests" / "room"
    folder.mkdir(parents=True)
    (folder / "a_test.py").write_text("def test_one():\n    pass\n")
    (folder / "b_test.cc").write_text("TEST_F(Suite,\n       Two) {}\n")
    found = generator.tests_by_name(tmp_path)
    assert generator.resolve("test_one", found) == [
        "[test_one](../tests/room/a_test.py)"
    ]
    assert generator.resolve("Two in room", found) == [
        "[Two](../tests/room/b_test.cc)"
    ]
    assert found["a_test"] == ["tests/room/a_test.py"]


def test_no_cell_of_a_document_is_a_paragraph(repository_root):
    long = [
        f"{document.name}:{number}: {len(cell)} characters: {cell[:40]}"
        for document in [
            *repository_root.glob("*.md"),
            *(repository_root / "docs").glob("*.md"),
        ]
        for number, line in enumerate(document.read_text().splitlines(), 1)
        if line.startswith("|")
        for cell in map(str.strip, line.strip("|").split("|"))
        if len(cell) > LONGEST_CELL
    ]
    assert not long, "\n".join(long)
