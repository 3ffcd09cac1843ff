"""The documents are true: links resolve, programs run, formats are named."""

from __future__ import annotations

import doctest
import inspect
import io
import re

import pytest

import monolith_tf as mt
import processes

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# MAGIC = b"..." in Python, kMagic[] = "..." in C++.
MAGIC = re.compile(
    r"""(?:\b\w*MAGIC\w*\b|\bk\w*Magic\w*)[^=\n]*=\s*b?["']([^"'\\]+)"""
)


def documents(root):
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]


def programs(text):
    return [
        body for language, body in FENCE.findall(text) if language == "python"
    ]


def anchors(text):
    """GitHub's anchors of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def test_every_relative_link_resolves(repository_root):
    broken = []
    for document in documents(repository_root):
        for link in LINK.findall(FENCE.sub("", document.read_text())):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            found = target.exists() and (
                not anchor or anchor in anchors(target.read_text())
            )
            if not found:
                broken.append(f"{document.name}: {link}")
    assert not broken, "\n".join(broken)


@pytest.mark.e2e
def test_the_program_of_the_readme_runs(repository_root, tmp_path):
    (program, *_) = programs((repository_root / "README.md").read_text())
    processes.run([*processes.PYTHON, "-c", program], cwd=tmp_path)


def test_the_program_of_the_readme_is_short(repository_root):
    (program, *_) = programs((repository_root / "README.md").read_text())
    assert len([line for line in program.splitlines() if line.strip()]) <= 12


def test_the_readme_installs_every_tensorflow_that_it_says_is_tried(
    repository_root,
):
    readme = (repository_root / "README.md").read_text()
    (line,) = re.findall(r"^pip install (tensorflow==.*)$", readme, re.M)
    tried = re.findall(r"^\| 0\.1 \| (2\.\d+\.\d+) \|", readme, re.M)
    assert tried
    assert re.findall(r"\btensorflow==([\d.]+)", line) == tried


def test_the_readme_agrees_with_the_guides_on_what_a_feature_decides(
    repository_root,
):
    readme = (repository_root / "README.md").read_text()
    limits = readme.partition("## Not supported yet")[2]
    for argument in ("min_count", "probability", "ttl_seconds"):
        assert argument in inspect.signature(mt.FeatureConfig).parameters
    assert "each have a `min_count` or a `probability`" in limits
    assert "probability belongs to a table" not in readme


def test_the_readme_refuses_only_the_h5_files_that_are_refused(repository_root):
    readme = (repository_root / "README.md").read_text()
    (line,) = [at for at in readme.splitlines() if "`get_weights`" in at]
    refused, _, kept = line.partition("are refused")
    assert '`model.save("model.h5")`' in refused
    assert "weights.h5" not in refused
    assert "`.weights.h5` files" in kept


def test_nothing_promises_a_stream_that_the_readme_says_is_missing(
    repository_root,
):
    readme = (repository_root / "README.md").read_text()
    promises, _, limits = readme.partition("## Not supported yet")
    assert "reading a live stream" in limits
    summary = re.search(
        r'^description = "(.*)"',
        (repository_root / "pyproject.toml").read_text(),
        re.MULTILINE,
    )[1]
    for text in (summary, mt.__doc__, promises):
        assert "stream" not in text


def test_formats_names_every_magic_in_the_sources(repository_root):
    formats = (repository_root / "docs/formats.md").read_text()
    magics = {
        magic
        for folder in ("monolith_tf", "ops", "estimators", "serving")
        for path in (repository_root / folder).rglob("*")
        if path.suffix in {".py", ".cc", ".h"}
        for magic in MAGIC.findall(path.read_text())
    }
    assert magics, "no magic found: does the pattern still fit the sources?"
    assert not sorted(m for m in magics if m not in formats)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_named_exists(repository_root, document):
    makefile = (repository_root / "Makefile").read_text()
    named = re.findall(
        r"`make ([a-z-]+)", (repository_root / document).read_text()
    )
    assert named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_folder_of_the_ops_that_is_named_exists(repository_root):
    named = {
        folder
        for document in documents(repository_root)
        for folder in re.findall(r"\bops/cc/\w+", document.read_text())
    }
    assert "ops/cc/kernels" in named
    assert not [name for name in named if not (repository_root / name).exists()]


def test_documents_name_tests_that_exist(repository_root):
    named = {
        match
        for document in documents(repository_root)
        for match in re.findall(
            r"`(tests/[\w/.]+)(?:::(\w+))?`", document.read_text()
        )
    }
    assert named
    for path, name in named:
        file = repository_root / path
        assert file.exists(), path
        if name:
            assert name in file.read_text(), f"{path}::{name}"


@pytest.mark.slow
@pytest.mark.parametrize("document", ["rows.md", "features.md", "keras3.md"])
def test_the_snippets_of_a_guide_run_and_print_what_they_say(
    repository_root, document
):
    text = (repository_root / "docs" / document).read_text()
    snippets = "\n\n".join(programs(text))
    test = doctest.DocTestParser().get_doctest(snippets, {}, document, None, 0)
    assert len(test.examples) > 20
    report = io.StringIO()
    results = doctest.DocTestRunner().run(test, out=report.write)
    assert results.failed == 0, report.getvalue()
