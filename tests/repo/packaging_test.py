"""What a wheel and an sdist hold, and what an installation leaves behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run(*command, **kwargs):
    done = subprocess.run(command, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source, folder):
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
        *("--no-build-isolation", "--wheel-dir", str(folder), str(source)),
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(repository_root, tmp_path_factory):
    return build_wheel(repository_root, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names_in_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture
def copied_sources(repository_root, tmp_path):
    """The tree without its C++ sources, so that a build takes no compiler."""
    copy = tmp_path / "copy"
    shutil.copytree(
        repository_root,
        copy,
        ignore=shutil.ignore_patterns(
            ".*",
            "*.cc",
            "*.so",
            "_build_info.py",
            "build",
            "*.egg-info",
            "tests",
        ),
    )
    return copy


def test_nothing_but_monolith_tf_lands_in_site_packages(names_in_wheel):
    top_level = {name.split("/")[0] for name in names_in_wheel}
    (metadata,) = [n for n in top_level if n.endswith(".dist-info")]
    assert top_level == {"monolith_tf", metadata}


def test_a_wheel_holds_the_op_library_and_every_package(
    names_in_wheel, repository_root
):
    assert "monolith_tf/ops/_monolith_ops.so" in names_in_wheel
    assert "monolith_tf/ops/_build_info.py" in names_in_wheel
    for folder in ("monolith_tf", "ops", "estimators", "serving"):
        prefix = "monolith_tf/"
        if folder != "monolith_tf":
            prefix += f"{folder}/"
        for path in (repository_root / folder).rglob("*.py"):
            name = str(path.relative_to(repository_root / folder))
            assert prefix + name in names_in_wheel


def test_a_wheel_holds_no_sources_of_the_op_library(names_in_wheel):
    assert not [n for n in names_in_wheel if n.endswith((".cc", ".h", ".o"))]


def test_a_wheel_is_for_one_platform(wheel):
    assert "linux" in wheel.name
    assert not wheel.name.endswith("-none-any.whl")


def test_an_installed_wheel_imports_and_knows_its_tensorflow(wheel, tmp_path):
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
        *("--target", str(tmp_path / "site"), str(wheel)),
    )
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        # An editable install finds modules by a hook; the wheel comes first.
        "import monolith_tf, tensorflow as tf\n"
        "from monolith_tf.ops import _build_info\n"
        f"assert monolith_tf.__file__.startswith({str(tmp_path)!r})\n"
        "assert _build_info.TENSORFLOW_VERSION == tf.__version__\n"
    )
    run(sys.executable, "-c", program, cwd=tmp_path)


def test_the_op_library_exports_no_symbols(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("monolith_tf/ops/_monolith_ops.so", tmp_path)
    assert run("nm", "--dynamic", "--defined-only", library).strip() == ""


def test_a_build_folder_left_behind_is_not_shipped(copied_sources, tmp_path):
    stale = copied_sources / "build/lib/monolith_tf"
    stale.mkdir(parents=True)
    (stale / "deleted_long_ago.py").write_text("")
    wheel = build_wheel(copied_sources, tmp_path / "out")
    with zipfile.ZipFile(wheel) as archive:
        assert "deleted_long_ago" not in " ".join(archive.namelist())
    assert [p.name for p in (copied_sources / "build").iterdir()] == ["lib"]


def test_an_sdist_holds_all_that_a_build_and_the_tests_need(
    repository_root, tmp_path
):
    run(
        *(sys.executable, "-m", "build", "--sdist", "--no-isolation"),
        *("--outdir", str(tmp_path), str(repository_root)),
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    expected = {
        str(path.relative_to(repository_root))
        for folder in ("ops/cc", "monolith_tf", "serving", "tests", "docs")
        for path in (repository_root / folder).rglob("*")
        if path.suffix in {".cc", ".h", ".py", ".sh", ".md"}
        and path.name != "_build_info.py"
    }
    expected |= {"setup.py", "pyproject.toml", "Makefile", "BUILD", "WORKSPACE"}
    expected |= {"README.md", "requirements/locked.txt", "conftest.py"}
    assert expected <= names
    assert not [n for n in names if n.endswith((".so", "_build_info.py"))]


def test_a_build_without_tensorflow_says_what_to_install(repository_root):
    # -S hides site-packages, so the probe of setup.py finds no TensorFlow.
    fake = f'#!/bin/sh\nexec {sys.executable} -S "$@"\n'
    program = (
        "import os, pathlib, runpy, sys, tempfile\n"
        "folder = tempfile.mkdtemp()\n"
        "python = pathlib.Path(folder, 'python')\n"
        f"python.write_text({fake!r}); python.chmod(0o755)\n"
        "os.environ['MONOLITH_TF_PYTHON'] = str(python)\n"
        "sys.argv = ['setup.py', '-q', 'build_ext']\n"
        "runpy.run_path('setup.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=repository_root,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Install TensorFlow first" in done.stderr
    assert "MONOLITH_TF_PYTHON" in done.stderr
