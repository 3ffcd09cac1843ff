"""Contents of a wheel, an sdist and an installation."""

from __future__ import annotations

import email
import importlib.metadata
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile

import pytest
import tensorflow as tf
from packaging.requirements import Requirement

import processes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run(*command, **kwargs):
    return processes.run(command, **kwargs).stdout


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


@pytest.fixture(scope="module")
def metadata_in_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/METADATA")]
        return email.message_from_bytes(archive.read(name))


def interpreter(folder, script):
    """An interpreter that answers the question for TensorFlow."""
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return str(python)


def interpreter_with(folder, version):
    found = {
        "version": version,
        "cxx11_abi": 1,
        "compile_flags": [],
        "link_flags": [],
    }
    return interpreter(folder, f"echo '{json.dumps(found)}'")


def interpreter_without_tensorflow(folder):
    # -S hides site-packages.
    return interpreter(folder, f'exec {sys.executable} -S "$@"')


def prepare_metadata(sources, folder, python):
    """Runs what pip asks for before it builds."""
    program = (
        "import sys\n"
        "from setuptools import build_meta\n"
        "build_meta.prepare_metadata_for_build_wheel(sys.argv[1])\n"
    )
    return processes.run(
        [sys.executable, "-c", program, folder],
        code=None,
        cwd=sources,
        env={**os.environ, "MONOLITH_TF_PYTHON": python},
    )


def requirements(metadata):
    """Requirements by name, without those of the extras."""
    found = {}
    for line in metadata.get_all("Requires-Dist"):
        name, specifiers = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        if "extra ==" not in specifiers:
            found[name] = set(specifiers.split(","))
    return found


SUPPORTED = {
    "tensorflow": {">=2.16", "<2.22"},
    "tensorflow-serving-api": {">=2.16", "<2.22"},
    "tf-keras": {">=2.16", "<2.22"},
}


def test_a_wheel_requires_the_tensorflow_that_it_was_built_for(
    metadata_in_wheel,
):
    found = requirements(metadata_in_wheel)
    minor = int(tf.__version__.split(".")[1])
    assert found["tensorflow"] == {f"=={tf.__version__}"}
    assert found["tf-keras"] == {f"==2.{minor}.*"}
    assert found["tensorflow-serving-api"] == {">=2.16", f"<2.{minor + 1}"}


def test_a_wheel_fits_the_environment_that_it_was_built_in(metadata_in_wheel):
    # Else pip would replace what is there, TensorFlow for one.
    for line in metadata_in_wheel.get_all("Requires-Dist"):
        requirement = Requirement(line)
        if "extra" not in str(requirement.marker):
            installed = importlib.metadata.version(requirement.name)
            assert requirement.specifier.contains(installed), line


@pytest.mark.parametrize(
    ("version", "serving_api"), [("2.16.1", "<2.17"), ("2.21.0", "<2.22")]
)
def test_metadata_follows_the_tensorflow_that_is_installed(
    copied_sources, tmp_path, version, serving_api
):
    python = interpreter_with(tmp_path, version)
    done = prepare_metadata(copied_sources, tmp_path, python)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.dist-info/METADATA")
    found = requirements(email.message_from_string(file.read_text()))
    assert found["tensorflow"] == {f"=={version}"}
    assert found["tf-keras"] == {f"=={version.rpartition('.')[0]}.*"}
    assert found["tensorflow-serving-api"] == {">=2.16", serving_api}


def test_metadata_without_tensorflow_has_the_supported_versions(
    copied_sources, tmp_path
):
    python = interpreter_without_tensorflow(tmp_path)
    done = prepare_metadata(copied_sources, tmp_path, python)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.dist-info/METADATA")
    found = requirements(email.message_from_string(file.read_text()))
    assert SUPPORTED.items() <= found.items()


@pytest.mark.parametrize("version", ["2.15.1", "2.22.0", "3.16.0"])
def test_a_tensorflow_that_is_not_supported_is_refused(
    copied_sources, tmp_path, version
):
    python = interpreter_with(tmp_path, version)
    done = prepare_metadata(copied_sources, tmp_path, python)
    assert done.returncode != 0
    assert "monolith-tf supports TensorFlow 2.16 to 2.21" in done.stderr
    assert f"Received: TensorFlow {version}" in done.stderr
    assert "Install one of these" in done.stderr


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


def test_a_wheel_has_the_license(
    wheel, names_in_wheel, metadata_in_wheel, repository_root
):
    assert metadata_in_wheel["License-Expression"] == "Apache-2.0"
    assert metadata_in_wheel.get_all("License-File") == ["LICENSE"]
    (name,) = [n for n in names_in_wheel if n.endswith("licenses/LICENSE")]
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(name).decode()
    assert text == (repository_root / "LICENSE").read_text()
    assert "Apache License\n" in text
    assert "Version 2.0, January 2004" in text
    readme = (repository_root / "README.md").read_text()
    assert "[Apache License 2.0](LICENSE)" in readme


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
        top = opened.getnames()[0].partition("/")[0]
        metadata = email.message_from_binary_file(
            opened.extractfile(f"{top}/PKG-INFO")
        )
    # Any of them may be the one that it is built for.
    assert SUPPORTED.items() <= requirements(metadata).items()
    expected = {
        str(path.relative_to(repository_root))
        for folder in ("ops/cc", "monolith_tf", "serving", "tests", "docs")
        for path in (repository_root / folder).rglob("*")
        if path.suffix in {".cc", ".h", ".py", ".sh", ".md"}
        and path.name != "_build_info.py"
    }
    expected |= {"setup.py", "pyproject.toml", "Makefile", "BUILD", "WORKSPACE"}
    expected |= {"README.md", "requirements/locked.txt", "conftest.py"}
    expected |= {"LICENSE"}
    assert expected <= names
    assert not [n for n in names if n.endswith((".so", "_build_info.py"))]


def test_a_build_without_tensorflow_says_what_to_install(
    repository_root, tmp_path
):
    python = interpreter_without_tensorflow(tmp_path)
    done = processes.run(
        [sys.executable, "setup.py", "-q", "build_ext"],
        code=None,
        cwd=repository_root,
        env={**os.environ, "MONOLITH_TF_PYTHON": python},
    )
    assert done.returncode != 0
    assert "Install TensorFlow first" in done.stderr
    assert "MONOLITH_TF_PYTHON" in done.stderr
