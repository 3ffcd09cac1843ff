"""Who may import whom, as docs/architecture.md draws it."""

from __future__ import annotations

import ast
import re

import pytest

# Folder of the tree -> the package that it installs as.
PACKAGES = {
    "monolith_tf": "monolith_tf",
    "ops": "monolith_tf.ops",
    "estimators": "monolith_tf.estimators",
    "serving": "monolith_tf.serving",
}

# Room -> the rooms that it may import, by folder (or root module) of the
# package. `failpoints` and `errors` may import none. No exceptions: a new room
# gets a line.
_CORE = ("failpoints", "errors", "config", "ops", "stock_ops")
_STEP = (*_CORE, "placement", "step")
_MODEL = (
    *_STEP,
    "metrics",
    "checkpoint",
    "table",
    "ids",
    "feature",
)
_SERVING = (*_STEP, "ids")
_TRAINING = (*_MODEL, "optimizers", "keras_common")
MAY_IMPORT = {
    "failpoints": (),
    "errors": (),
    "config": ("failpoints", "errors"),
    "ops": ("failpoints", "errors", "config"),
    "stock_ops": ("failpoints", "errors", "config", "ops"),
    "cluster": ("failpoints", "errors", "config", "ops"),
    "placement": _CORE,
    "metrics": (*_CORE, "placement"),
    "step": (*_CORE, "placement"),
    "checkpoint": _STEP,
    "table": (*_STEP, "metrics", "checkpoint"),
    "snapshots": (*_STEP, "metrics", "checkpoint", "table"),
    "ids": _CORE,
    "feature": (*_STEP, "metrics", "checkpoint", "table", "ids"),
    "optimizers": _MODEL,
    "keras_common": _MODEL,
    "layers": _TRAINING,
    "keras3": _TRAINING,
    "data": _CORE,
    "serving": _SERVING,
    "callbacks": (*_TRAINING, "snapshots", "cluster", "serving"),
    "estimators": (
        *(*_TRAINING, "layers", "snapshots", "cluster"),
        *("serving", "callbacks"),
    ),
}
MAY_IMPORT["commands"] = tuple(MAY_IMPORT)
MAY_IMPORT["__main__"] = ("commands",)


def within(module, package):
    return module == package or module.startswith(package + ".")


def home(module):
    """The folder whose package `module` belongs to, None if it is foreign."""
    owners = [
        folder
        for folder, package in PACKAGES.items()
        if within(module, package)
    ]
    return max(owners, key=lambda f: len(PACKAGES[f]), default=None)


def module_name(path, root):
    folder, *rest = path.relative_to(root).with_suffix("").parts
    parts = [PACKAGES[folder], *rest]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(source, module, is_package):
    """Absolute names of all that `source` imports, at any depth."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join(above + ([base] if base else []))
            # `from package import name`: name may be a module.
            for alias in node.names:
                yield f"{base}.{alias.name}"


def room(module):
    """The folder or module below `monolith_tf` that `module` lies in."""
    return module.split(".")[1] if "." in module else None


def is_allowed(importer, imported):
    """The rule, for two modules of this project."""
    source, target = room(importer), room(imported)
    if source is None:
        return True  # The root is the table of contents: it names every room.
    # `from monolith_tf import __version__` names no room.
    return target in (source, None) or target in MAY_IMPORT[source]


def sources(root):
    for folder in PACKAGES:
        yield from sorted((root / folder).rglob("*.py"))


def test_no_python_module_imports_a_room_above_it(repository_root):
    broken = []
    for path in sources(repository_root):
        importer = module_name(path, repository_root)
        broken += [
            f"{path.relative_to(repository_root)} imports {imported}"
            for imported in imported_modules(
                path.read_text(), importer, path.name == "__init__.py"
            )
            if within(imported, "monolith_tf")
            and not is_allowed(importer, imported)
        ]
    assert not broken, "\n".join(broken)


def test_every_room_has_its_line(repository_root):
    rooms = {
        room(module_name(path, repository_root))
        for path in sources(repository_root)
    }
    assert rooms - {None} == set(MAY_IMPORT)


def test_the_rooms_form_a_ladder():
    climbed = set()
    for name, below in MAY_IMPORT.items():
        if name != "commands":
            assert set(below) <= climbed | {"commands"}, name
        climbed.add(name)


def rooms_of(root):
    """Yields the `__init__.py` of every room, sub-rooms included."""
    for folder in PACKAGES:
        yield from sorted((root / folder).rglob("__init__.py"))


def opened_by(room_name, docstring):
    """Rooms that a docstring says a room may import."""
    (sentence,) = re.findall(r"Imports (.*?)(?:[.;]|, and no)", docstring, re.S)
    if "every room" in sentence:
        return set(MAY_IMPORT) - {room_name, "__main__"}
    named = re.findall(r"`(\w+)`", sentence)
    found = set(named)
    if "and below" in sentence:
        for name in named:
            found |= set(MAY_IMPORT[name])
    return found


def test_every_room_says_what_to_read_first(repository_root):
    for path in rooms_of(repository_root):
        if path.parent.name == "monolith_tf":
            continue  # The table of contents.
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text, path
        (first,) = re.findall(r"Start\s+with\s+`([\w/]+\.py)`", text)
        assert (path.parent / first).is_file(), f"{path}: no {first}"


def test_every_room_says_what_it_may_import(repository_root):
    for path in rooms_of(repository_root):
        name = room(module_name(path, repository_root))
        if name is None:
            continue
        text = ast.get_docstring(ast.parse(path.read_text()))
        is_room = path.parent.name == name
        opened = opened_by(name, text)
        allowed = set(MAY_IMPORT[name]) - {name, "__main__"}
        assert opened == allowed if is_room else opened <= allowed, path


def test_every_folder_outside_the_package_says_what_it_installs_as(
    repository_root,
):
    for folder, package in PACKAGES.items():
        if folder != package:
            text = (repository_root / folder / "__init__.py").read_text()
            assert f"`{package}`" in text.partition("\n\n")[0], folder


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("monolith_tf.ops.table_ops", "monolith_tf.ops.load", True),
        ("monolith_tf.ops.table_ops", "monolith_tf.table", False),
        ("monolith_tf.table", "monolith_tf.ops.table_ops", True),
        ("monolith_tf.table", "monolith_tf.serving.delta", False),
        ("monolith_tf.table", "monolith_tf.cluster.roles", False),
        ("monolith_tf.placement.table_set", "monolith_tf.table", False),
        ("monolith_tf.commands.launch", "monolith_tf.cluster.job", True),
        ("monolith_tf.callbacks.delta_push", "monolith_tf.serving.x", True),
        ("monolith_tf.serving.export", "monolith_tf.stock_ops.x", True),
        ("monolith_tf.serving.export", "monolith_tf.layers.x", False),
        ("monolith_tf.serving.export", "monolith_tf.table", False),
        ("monolith_tf.serving.export", "monolith_tf.estimators", False),
        ("monolith_tf.estimators.export", "monolith_tf.serving.export", True),
        ("monolith_tf.estimators.estimator", "monolith_tf.cluster.x", True),
        ("monolith_tf.cluster.job", "monolith_tf.estimators.x", False),
    ],
)
def test_the_rule_itself(importer, imported, allowed):
    assert is_allowed(importer, imported) is allowed


def test_relative_imports_are_resolved():
    found = imported_modules(
        "from . import a\nfrom ..serving import b\nimport c.d\n",
        "monolith_tf.ops.load",
        is_package=False,
    )
    assert list(found) == [
        "monolith_tf.ops.a",
        "monolith_tf.serving.b",
        "c.d",
    ]


# --- C++ --------------------------------------------------------------------

INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)

# Folder of ops/cc -> the folders that it may include, lowest first. Abseil and
# TensorFlow count as folders. No exceptions: a new folder gets a line.
MAY_INCLUDE = {
    "failpoints": ("absl",),
    "simd": (),
    "storage": ("absl", "failpoints"),
    "memory": ("absl",),
    "hash": ("absl", "simd"),
    "config": ("absl", "hash"),
    "optimizer": ("absl", "simd", "config"),
    "initializer": ("absl", "hash", "simd", "config"),
    "precision": ("absl", "simd", "config"),
    "admission": ("absl", "hash", "memory"),
    "features": ("absl", "hash", "memory", "simd", "precision"),
    "table": (
        *("absl", "hash", "memory", "config"),
        *("optimizer", "initializer", "precision", "admission"),
    ),
    "snapshot": ("absl", "hash", "storage", "table"),
}
CORE = tuple(MAY_INCLUDE)
MAY_INCLUDE["registrations"] = ("absl", "tensorflow", "config")
MAY_INCLUDE["kernels"] = ("absl", "tensorflow", *CORE)

# Code for instructions that a machine may not have. An inline function that
# such a file shares with others could be compiled for them and linked for all.
TARGET = re.compile(r'target\("avx')
SHARES_NO_INLINE_FUNCTION = {
    "stdint.h",
    "ops/cc/initializer/initializer_loops.h",
    "ops/cc/features/wire_loops.h",
    "ops/cc/optimizer/ftrl_step.h",
    "ops/cc/optimizer/row_loops.h",
    "ops/cc/precision/precision_loops.h",
    "ops/cc/simd/instruction_set.h",
    "ops/cc/simd/loop_math.h",
    "ops/cc/simd/row_loop.h",
    "ops/cc/simd/row_rule.h",
    "ops/cc/simd/row_sum.h",
}


def cpp_files(root, folder="."):
    for path in sorted((root / "ops/cc" / folder).rglob("*.*")):
        if path.suffix in (".cc", ".h"):
            yield path, INCLUDE.findall(path.read_text())


def cpp_folder(included):
    """The folder that an include belongs to, None for the system's headers."""
    first, *rest = included.split("/")
    if not rest or first == "sys":
        return None
    return included.split("/")[2] if first == "ops" else first


def may_include(folder, included):
    """The rule, for a file of `folder`."""
    target = cpp_folder(included)
    return target in (folder, None) or target in MAY_INCLUDE[folder]


def test_every_cpp_folder_has_its_line(repository_root):
    folders = {
        path.name
        for path in (repository_root / "ops/cc").iterdir()
        if path.is_dir()
    }
    assert folders == set(MAY_INCLUDE)


def test_the_cpp_folders_form_a_ladder():
    climbed = {"absl", "tensorflow"}
    for name, below in MAY_INCLUDE.items():
        assert set(below) <= climbed, name
        climbed.add(name)


@pytest.mark.parametrize("folder", MAY_INCLUDE)
def test_no_cpp_file_includes_a_folder_above_it(repository_root, folder):
    broken = [
        f"{path.relative_to(repository_root)} includes {name}"
        for path, includes in cpp_files(repository_root, folder)
        for name in includes
        if not may_include(folder, name)
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize("folder", CORE)
def test_a_core_folder_includes_all_that_it_may(repository_root, folder):
    included = {
        cpp_folder(name)
        for _, includes in cpp_files(repository_root, folder)
        for name in includes
    }
    assert set(MAY_INCLUDE[folder]) == included - {folder, None}


def test_bazel_builds_the_core_by_the_same_ladder(repository_root):
    text = (repository_root / "BUILD").read_text()
    table = re.search(r"^CORE = (\{.*?^\})", text, re.MULTILINE | re.DOTALL)
    built = {
        folder: tuple("absl" if name == "abseil" else name for name in below)
        for folder, below in ast.literal_eval(table[1]).items()
    }
    assert list(built.items()) == [(name, MAY_INCLUDE[name]) for name in CORE]


@pytest.mark.parametrize(
    ("folder", "included", "allowed"),
    [
        ("hash", "cstdint", True),
        ("hash", "ops/cc/hash/partition.h", True),
        ("hash", "ops/cc/table/row.h", False),
        ("simd", "absl/status/status.h", False),
        ("optimizer", "ops/cc/simd/row_rule.h", True),
        ("optimizer", "ops/cc/features/combiner.h", False),
        ("table", "ops/cc/optimizer/optimizer.h", True),
        ("table", "tensorflow/core/framework/tensor.h", False),
        ("registrations", "ops/cc/kernels/parallel.h", False),
        ("kernels", "ops/cc/table/table.h", True),
        ("kernels", "ops/cc/registrations/shape_helpers.h", False),
    ],
)
def test_the_cpp_rule_itself(folder, included, allowed):
    assert may_include(folder, included) is allowed


def test_code_for_wider_registers_shares_no_inline_function(repository_root):
    includes_of = {
        str(path.relative_to(repository_root)): includes
        for path, includes in cpp_files(repository_root)
    }
    wide = {
        name
        for name in includes_of
        if TARGET.search((repository_root / name).read_text())
    }
    assert len(wide) >= 4
    broken, seen = [], set()
    # A rule's file has its `target` from row_rule.h.
    pending = wide | {
        name
        for name, includes in includes_of.items()
        if "ops/cc/simd/row_rule.h" in includes
    }
    while pending:
        name = pending.pop()
        seen.add(name)
        for included in includes_of.get(name, ()):
            if included not in SHARES_NO_INLINE_FUNCTION:
                broken.append(f"{name} includes {included}")
            elif included not in seen:
                pending.add(included)
    assert not broken, "\n".join(broken)


def test_no_tests_folder_is_a_package(repository_root):
    assert not list((repository_root / "tests").rglob("__init__.py"))
