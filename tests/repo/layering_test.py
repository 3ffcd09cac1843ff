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
# package. `errors` may import none. No exceptions: a new room gets a line.
_CORE = ("errors", "config", "ops", "stock_ops")
_STEP = (*_CORE, "placement", "step")
_MODEL = (
    *_STEP,
    "metrics",
    "checkpoint",
    "table",
    "ids",
    "crossed_ids",
    "feature",
)
_SERVING = (*_STEP, "ids", "crossed_ids")
_TRAINING = (*_MODEL, "optimizers", "keras_common")
MAY_IMPORT = {
    "errors": (),
    "config": ("errors",),
    "ops": ("errors", "config"),
    "stock_ops": ("errors", "config", "ops"),
    "cluster": ("errors", "config", "ops"),
    "placement": _CORE,
    "metrics": (*_CORE, "placement"),
    "step": (*_CORE, "placement"),
    "checkpoint": _STEP,
    "table": (*_STEP, "metrics", "checkpoint"),
    "crossed_ids": _CORE,
    "ids": (*_CORE, "crossed_ids"),
    "feature": (*_STEP, "metrics", "checkpoint", "table", "ids"),
    "optimizers": _MODEL,
    "keras_common": _MODEL,
    "layers": _TRAINING,
    "keras3": _TRAINING,
    "data": _CORE,
    "serving": _SERVING,
    "callbacks": (*_TRAINING, "cluster", "serving"),
    "estimators": (*_TRAINING, "layers", "cluster", "serving", "callbacks"),
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


INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)

# Folder of ops/cc -> what it may not include.
_CORE_FOLDERS = (
    "admission",
    "features",
    "initializer",
    "memory",
    "optimizer",
    "precision",
    "table",
)
FORBIDDEN_INCLUDES = {
    **{
        folder: ("tensorflow/", "ops/cc/registrations/", "ops/cc/kernels/")
        for folder in _CORE_FOLDERS
    },
    "registrations": ("ops/cc/kernels/",),
    "kernels": ("ops/cc/registrations/",),
}


def test_every_folder_of_the_core_has_its_line(repository_root):
    folders = {
        path.name
        for path in (repository_root / "ops/cc").iterdir()
        if path.is_dir()
    }
    assert folders == set(FORBIDDEN_INCLUDES)


@pytest.mark.parametrize("folder", FORBIDDEN_INCLUDES)
def test_no_cpp_file_includes_a_layer_above_it(repository_root, folder):
    paths = sorted((repository_root / "ops/cc" / folder).rglob("*.*"))
    assert paths
    broken = [
        f"{path.relative_to(repository_root)} includes {name}"
        for path in paths
        for name in INCLUDE.findall(path.read_text())
        if name.startswith(FORBIDDEN_INCLUDES[folder])
    ]
    assert not broken, "\n".join(broken)


def test_no_tests_folder_is_a_package(repository_root):
    assert not list((repository_root / "tests").rglob("__init__.py"))
