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

# The command line starts servers of every kind, so it stands above all.
ENTRY_POINTS = ("monolith_tf.cli", "monolith_tf.commands")

# What runs beside `fit` may call serving.
MAY_CALL_SERVING = ("monolith_tf.callbacks",)
# The root package loads it on first use, so that `mt.serving` is a name.
LOADED_ON_FIRST_USE = ("monolith_tf", "monolith_tf.serving")

# What serving may use of monolith_tf: modules that know neither Keras layers
# nor how a model is trained.
OPEN_TO_SERVING = (
    "monolith_tf.anchor",
    "monolith_tf.config",
    "monolith_tf.errors",
    "monolith_tf.hashing",
    "monolith_tf.ids",
    "monolith_tf.initial_rows",
    "monolith_tf.lookup_backend",
    "monolith_tf.ops",
    "monolith_tf.server_calls",
    "monolith_tf.sharding",
    "monolith_tf.table_set",
    "monolith_tf.which_keras",
)


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


def is_allowed(importer, imported):
    """The rule, for two modules of this project."""
    source, target = home(importer), home(imported)
    if source == target or source == "estimators":
        return True
    if any(within(importer, module) for module in ENTRY_POINTS):
        return True
    if source == "ops":
        return False
    if source == "monolith_tf":
        if target == "serving":
            if (importer, imported) == LOADED_ON_FIRST_USE:
                return True
            return any(within(importer, m) for m in MAY_CALL_SERVING)
        return target == "ops"
    return any(within(imported, m) for m in OPEN_TO_SERVING)


def sources(root):
    for folder in PACKAGES:
        yield from sorted((root / folder).rglob("*.py"))


def test_no_python_module_imports_a_layer_above_it(repository_root):
    broken = []
    for path in sources(repository_root):
        importer = module_name(path, repository_root)
        names = imported_modules(
            path.read_text(), importer, path.name == "__init__.py"
        )
        broken += [
            f"{path.relative_to(repository_root)} imports {imported}"
            for imported in names
            if home(imported) and not is_allowed(importer, imported)
        ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("monolith_tf.ops.table_ops", "monolith_tf.ops.load", True),
        ("monolith_tf.ops.table_ops", "monolith_tf.table", False),
        ("monolith_tf.table", "monolith_tf.ops.table_ops", True),
        ("monolith_tf.table", "monolith_tf.serving.delta", False),
        ("monolith_tf.table", "monolith_tf.estimators.cluster", False),
        ("monolith_tf.cli", "monolith_tf.estimators.cluster", True),
        ("monolith_tf.commands.launch", "monolith_tf.estimators.job", True),
        (
            "monolith_tf.callbacks.delta_push",
            "monolith_tf.serving.pusher",
            True,
        ),
        ("monolith_tf.serving.export", "monolith_tf.hashing", True),
        ("monolith_tf.serving.export", "monolith_tf.layers.x", False),
        ("monolith_tf.serving.export", "monolith_tf.table", False),
        ("monolith_tf.serving.export", "monolith_tf.estimators", False),
        ("monolith_tf.estimators.cluster", "monolith_tf.serving.export", True),
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
FORBIDDEN_INCLUDES = {
    "table": ("tensorflow/", "ops/cc/registrations/", "ops/cc/kernels/"),
    "registrations": ("ops/cc/kernels/",),
    "kernels": ("ops/cc/registrations/",),
}


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
