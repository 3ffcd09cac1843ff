"""Every C++ header of the core has a test: of its stem, or in the index."""

from __future__ import annotations

import re

import pytest

ROW = re.compile(r"^\| `(\w+)/(\w+)\.h` \| (.*) \|$", re.MULTILINE)
NAME = re.compile(r"`(\w+_test)`")
NOT_CORE = {"kernels", "registrations"}


@pytest.fixture
def headers(repository_root):
    return {
        (path.parent.name, path.stem)
        for path in (repository_root / "ops/cc").glob("*/*.h")
        if path.parent.name not in NOT_CORE
    }


@pytest.fixture
def index(repository_root):
    """Header -> names of its tests, as tests/cc/README.md has them."""
    text = (repository_root / "tests/cc/README.md").read_text()
    return {
        (folder, stem): NAME.findall(tests)
        for folder, stem, tests in ROW.findall(text)
    }


@pytest.fixture
def tests(repository_root):
    return {path.stem for path in (repository_root / "tests/cc").glob("*.cc")}


def test_every_header_has_a_test_of_its_stem_or_a_line(headers, index, tests):
    by_stem = {header for header in headers if f"{header[1]}_test" in tests}
    assert headers - by_stem - set(index) == set()
    # A line that a test of the stem has made needless.
    assert set(index) & by_stem == set()


def test_the_index_names_what_there_is(headers, index, tests):
    assert set(index) <= headers
    for header, names in index.items():
        assert names, header
        assert set(names) <= tests, header


def test_the_readme_names_every_test_that_is_of_no_header(
    repository_root, headers, tests
):
    text = (repository_root / "tests/cc/README.md").read_text()
    stems = {f"{stem}_test" for _, stem in headers}
    named = set(NAME.findall(text))
    assert tests - stems <= named
    assert named <= tests
