"""Maps the packages, compiles the op library and pins its TensorFlow.

Metadata is in pyproject.toml. Three things cannot be said there:

*   `ops/`, `estimators/` and `serving/` install as `monolith_tf.ops`,
    `monolith_tf.estimators` and `monolith_tf.serving`.
*   `ops/cc/**/*.cc` is compiled into `monolith_tf/ops/_monolith_ops.so`
    against the TensorFlow of the interpreter that is installed into. An
    isolated build does not see that TensorFlow in its own `sys.path`; a child
    of the same interpreter, started without the isolation, does.
*   What is built requires exactly that TensorFlow, and the tf-keras and serving
    API that fit it: pip would replace it by a newer one otherwise. An sdist,
    and metadata without a TensorFlow, have the ranges that are supported.

Environment variables:

*   MONOLITH_TF_PYTHON: interpreter whose TensorFlow to build for. Needed by
    tools that build in an environment of their own, such as `python -m build`.
*   MONOLITH_TF_JOBS: parallel compilations (default 2).
*   CXX: the compiler (default g++).
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import setuptools
from setuptools.command import build as setuptools_build
from setuptools.command import build_ext as setuptools_build_ext

ROOT = pathlib.Path(__file__).resolve().parent
LIBRARY = "_monolith_ops.so"

# Each folder is the root of the package with that name; a package is a folder
# with an `__init__.py`.
PACKAGE_ROOTS = {
    "monolith_tf": "monolith_tf",
    "monolith_tf.ops": "ops",
    "monolith_tf.estimators": "estimators",
    "monolith_tf.serving": "serving",
}

REQUIREMENTS = (
    "google-crc32c>=1.5",
    "grpcio>=1.60",
    "numpy>=1.26",
    "prometheus_client>=0.20",
    "tensorboard>=2.16",
    "tqdm>=4.60",
    "werkzeug>=3.0",
    "wrapt>=1.14",
)
# Minor versions of TensorFlow 2, the first and the one behind the last.
FIRST_MINOR, BEHIND_LAST_MINOR = 16, 22
# Commands that build a package for the TensorFlow that is installed, or write
# its metadata.
BUILD_COMMANDS = {"bdist_wheel", "dist_info", "editable_wheel"}

COMPILE_FLAGS = (
    "-std=c++17",
    "-O3",
    "-g1",
    "-fPIC",
    # SIMD and scalar code must round alike: no fused multiply-add.
    "-ffp-contract=off",
    # Lets sqrt be one instruction; the result is the same.
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-DNDEBUG",
)

# TensorFlow finds ops and kernels through static initialisers, not through
# symbols, so the library exports nothing. Symbols of our own copies of inline
# functions can then not be mixed up with those of another library.
VERSION_SCRIPT = "{ local: *; };\n"

BUILD_INFO = '''\
"""Versions that the op library was built for. Written by setup.py."""

TENSORFLOW_VERSION = "{version}"
CXX11_ABI = {cxx11_abi}
'''

PROBE = """
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
print("\\n" + json.dumps({
    "version": tf.__version__,
    "cxx11_abi": int(tf.sysconfig.CXX11_ABI_FLAG),
    "compile_flags": tf.sysconfig.get_compile_flags(),
    "link_flags": tf.sysconfig.get_link_flags(),
}))
"""


class NoTensorFlow(SystemExit):
    """The target interpreter cannot import a TensorFlow."""


@dataclasses.dataclass(frozen=True)
class TensorFlow:
    """The installed TensorFlow that the op library is compiled against."""

    version: str
    cxx11_abi: int
    compile_flags: list[str]
    link_flags: list[str]

    @classmethod
    @functools.cache
    def find(cls) -> TensorFlow:
        """Asks the target interpreter, outside of any build isolation.

        Raises:
            NoTensorFlow: It cannot import one.
            SystemExit: It has a version that is not supported.
        """
        python = os.environ.get("MONOLITH_TF_PYTHON", sys.executable)
        # pip isolates a build through PYTHONPATH; -I ignores it.
        probe = subprocess.run(
            [python, "-I", "-c", PROBE], capture_output=True, text=True
        )
        if probe.returncode != 0:
            raise NoTensorFlow(
                "monolith-tf compiles against an installed TensorFlow, and"
                f" {python} cannot import one:\n{probe.stderr.strip()}\n"
                "Install TensorFlow first (pip install 'tensorflow>=2.16,"
                "<2.22'). If the build runs in an environment of its own"
                " (python -m build, uv), turn that off (--no-isolation,"
                " --no-build-isolation) or set MONOLITH_TF_PYTHON to the"
                " interpreter that has TensorFlow."
            )
        found = cls(**json.loads(probe.stdout.splitlines()[-1]))
        supported = range(FIRST_MINOR, BEHIND_LAST_MINOR)
        if found.release[0] != 2 or found.release[1] not in supported:
            raise SystemExit(
                f"monolith-tf supports TensorFlow 2.{supported[0]} to"
                f" 2.{supported[-1]}. Received: TensorFlow {found.version} of"
                f" {python}. Install one of these versions, then build again."
            )
        return found

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    def flags(self) -> list[str]:
        """Compile flags, with TensorFlow's headers as system headers."""
        flags = []
        for flag in self.compile_flags:
            if flag.startswith("-I"):
                flags += ["-isystem", flag[2:]]
            elif not flag.startswith(("-std=", "--std=")):
                flags.append(flag)
        return flags


def requirements(commands: list[str]) -> list[str]:
    """Requirements of what the commands of setup.py make."""
    tensorflow = keras = f">=2.{FIRST_MINOR},<2.{BEHIND_LAST_MINOR}"
    behind = BEHIND_LAST_MINOR
    if BUILD_COMMANDS & set(commands):
        try:
            found = TensorFlow.find()
        except NoTensorFlow:
            # Tools read metadata of sources too. A build fails later.
            pass
        else:
            minor = found.release[1]
            tensorflow = f"=={found.version}"
            keras = f"==2.{minor}.*"
            behind = minor + 1
    return [
        *REQUIREMENTS,
        f"tensorflow{tensorflow}",
        # Messages and stubs alone: an older one fits, and a newer one requires
        # a newer TensorFlow.
        f"tensorflow-serving-api>=2.{FIRST_MINOR},<2.{behind}",
        f"tf-keras{keras}",
    ]


def cc_sources() -> list[pathlib.Path]:
    """Every C++ source of the op library, in a fixed order."""
    return sorted((ROOT / "ops" / "cc").rglob("*.cc"))


def find_packages() -> list[str]:
    """Names of all packages of all roots."""
    packages = []
    for name, folder in PACKAGE_ROOTS.items():
        packages.append(name)
        packages += [
            f"{name}.{child}"
            for child in setuptools.find_packages(where=str(ROOT / folder))
        ]
    return packages


def run(command: list[str]) -> None:
    """Runs one compiler command; a failure prints the whole of it."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")


def is_current(target: pathlib.Path, dependencies: pathlib.Path) -> bool:
    """Returns True if `target` is newer than all files of its depfile."""
    if not target.exists() or not dependencies.exists():
        return False
    names = dependencies.read_text().replace("\\\n", " ").split(":", 1)[1]
    built = target.stat().st_mtime_ns
    try:
        return all(os.stat(n).st_mtime_ns < built for n in shlex.split(names))
    except FileNotFoundError:
        return False


class OpLibrary:
    """Compiles and links the op library, reusing objects that are current."""

    def __init__(self, tensorflow: TensorFlow):
        """Chooses the object folder of this TensorFlow."""
        self._tensorflow = tensorflow
        self._compiler = os.environ.get("CXX", "g++")
        # Not `build/`: setuptools ships what an earlier build left there.
        self._folder = (
            ROOT
            / ".build"
            / f"tf-{tensorflow.version}-abi{tensorflow.cxx11_abi}"
        )

    def _command(self) -> list[str]:
        return [
            self._compiler,
            *COMPILE_FLAGS,
            *self._tensorflow.flags(),
            "-I",
            str(ROOT),
        ]

    def _compile(self, source: pathlib.Path) -> pathlib.Path:
        relative = source.relative_to(ROOT)
        target = self._folder / relative.with_suffix(".o")
        dependencies = target.with_suffix(".d")
        if not is_current(target, dependencies):
            target.parent.mkdir(parents=True, exist_ok=True)
            print(f"compiling {relative}", flush=True)
            # Written aside and renamed: an interrupted build leaves no object
            # that looks finished.
            partial = target.with_suffix(f".{os.getpid()}.o")
            run(
                [
                    *self._command(),
                    "-MD",
                    "-MF",
                    str(dependencies),
                    "-c",
                    str(source),
                    "-o",
                    str(partial),
                ]
            )
            partial.rename(target)
        return target

    def _drop_objects_of_other_flags(self) -> None:
        stamp = self._folder / "command.txt"
        command = shlex.join(self._command())
        if not stamp.exists() or stamp.read_text() != command:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            stamp.write_text(command)

    def build(self, sources: list[pathlib.Path], folder: pathlib.Path) -> None:
        """Writes the library and its `_build_info.py` into `folder`."""
        self._drop_objects_of_other_flags()
        jobs = int(os.environ.get("MONOLITH_TF_JOBS", "2"))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            objects = list(pool.map(self._compile, sources))
        script = self._folder / "exports.lds"
        script.write_text(VERSION_SCRIPT)
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{LIBRARY}.{os.getpid()}"
        run(
            [
                self._compiler,
                "-shared",
                *map(str, objects),
                *self._tensorflow.link_flags,
                f"-Wl,--version-script={script}",
                # A symbol that no library has is an error here, not at import.
                "-Wl,-z,defs",
                "-o",
                str(partial),
            ]
        )
        partial.rename(folder / LIBRARY)
        (folder / "_build_info.py").write_text(
            BUILD_INFO.format(
                version=self._tensorflow.version,
                cxx11_abi=self._tensorflow.cxx11_abi,
            )
        )


class Build(setuptools_build.build):
    """Builds in a temporary folder: a left-over `build/` ships old files."""

    def initialize_options(self):
        """Points every intermediate file at a folder that goes away."""
        super().initialize_options()
        self._temporary = tempfile.TemporaryDirectory(prefix="monolith-tf-")
        self.build_base = self._temporary.name


class BuildExt(setuptools_build_ext.build_ext):
    """Builds the op library instead of a Python extension module."""

    def run(self):
        """Compiles into the wheel, or into `ops/` for an editable install."""
        sources = cc_sources()
        if not sources:
            return
        if self.editable_mode or self.inplace:
            folder = ROOT / "ops"
        else:
            folder = pathlib.Path(self.build_lib) / "monolith_tf" / "ops"
        OpLibrary(TensorFlow.find()).build(sources, folder)

    def get_ext_filename(self, fullname):
        """The op library has no Python ABI in its name."""
        del fullname
        return os.path.join("monolith_tf", "ops", LIBRARY)

    def get_outputs(self):
        """The files that belong into the wheel."""
        folder = pathlib.Path(self.build_lib) / "monolith_tf" / "ops"
        return [str(folder / LIBRARY), str(folder / "_build_info.py")]

    def get_output_mapping(self):
        """An editable install uses the files in `ops/` as they are."""
        return {}


setuptools.setup(
    install_requires=requirements(sys.argv[1:]),
    packages=find_packages(),
    package_dir=PACKAGE_ROOTS,
    include_package_data=False,
    cmdclass={"build": Build, "build_ext": BuildExt},
    # Named so that the wheel is a platform wheel; BuildExt finds the sources.
    ext_modules=[setuptools.Extension("monolith_tf.ops._monolith_ops", [])],
)
