"""Effects of `import monolith_tf` before a public name is used."""

from __future__ import annotations

import pytest

import processes
from monolith_tf.ops.load import check_build


def run(program):
    return processes.run([*processes.PYTHON, "-c", program], code=None)


@pytest.mark.e2e
def test_import_makes_the_ops_known_to_a_server():
    done = run(
        "import monolith_tf\n"
        "from tensorflow.python.framework import op_def_registry\n"
        "print(op_def_registry.get('MonolithLookup').name)"
    )
    assert done.stdout.split()[-1] == "MonolithLookup", done.stderr


@pytest.mark.e2e
def test_import_under_another_tensorflow_says_how_to_rebuild():
    done = run(
        "import tensorflow as tf\ntf.__version__ = '2.99.0'\nimport monolith_tf"
    )
    assert done.returncode == 1
    last = done.stderr.strip()
    assert "ImportError: monolith_tf was built for TensorFlow" in last
    assert "2.99.0" in last
    assert "pip install --force-reinstall" in last


def test_build_for_the_installed_tensorflow_is_fine():
    check_build("2.16.2", "2.16.2")
    with pytest.raises(ImportError, match="built for TensorFlow 2.16.2"):
        check_build("2.16.2", "2.21.0")


def test_every_public_name_is_there_and_documented():
    import monolith_tf as mt

    for name in mt.__all__:
        assert getattr(mt, name).__doc__, name
        for inner in getattr(getattr(mt, name), "__all__", []):
            assert getattr(getattr(mt, name), inner).__doc__, (name, inner)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mt.nothing  # noqa: B018


def test_dir_lists_the_public_names_and_no_internal_one():
    import monolith_tf as mt

    assert dir(mt) == sorted(["__version__", *mt.__all__])
    assert "ops" in dir(mt)
