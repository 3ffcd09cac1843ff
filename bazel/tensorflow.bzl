"""The TensorFlow of a Python environment as a Bazel repository.

Nothing is downloaded: the headers and `libtensorflow_framework.so.2` of the
installed wheel are linked to. The library brings its own Abseil, whose headers
are in the wheel, so no other Abseil may be mixed in.
"""

_BUILD = """
package(default_visibility = ["//visibility:public"])

# For what may include nothing of TensorFlow.
cc_library(
    name = "abseil",
    srcs = ["libtensorflow_framework.so.2"],
    hdrs = glob(["include/absl/**"]),
    defines = {defines},
    # "includes" are passed as -isystem: warnings in them are not ours.
    includes = ["include"],
)

cc_library(
    name = "tensorflow",
    hdrs = glob(["include/**"], exclude = ["include/absl/**"]),
    deps = [":abseil"],
)
"""

_PROBE = """
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
print()
print(tf.sysconfig.get_include())
print(tf.sysconfig.get_lib())
print(json.dumps([
    flag[2:] for flag in tf.sysconfig.get_compile_flags()
    if flag.startswith("-D")
]))
"""

def _tensorflow_repository_impl(ctx):
    python = ctx.os.environ.get("MONOLITH_TF_PYTHON", "")
    if not python:
        python = str(ctx.which("python3"))
    probe = ctx.execute([python, "-I", "-c", _PROBE])
    if probe.return_code != 0:
        fail(("{} cannot import TensorFlow. Pass the interpreter that has it: " +
              "bazel test //... --repo_env=MONOLITH_TF_PYTHON=/path/to/python\n{}").format(
            python,
            probe.stderr,
        ))
    include, library, defines = probe.stdout.strip().split("\n")[-3:]
    ctx.symlink(include, "include")
    ctx.symlink(
        library + "/libtensorflow_framework.so.2",
        "libtensorflow_framework.so.2",
    )
    ctx.file("BUILD", _BUILD.format(defines = defines))

tensorflow_repository = repository_rule(
    implementation = _tensorflow_repository_impl,
    doc = "Links the TensorFlow that MONOLITH_TF_PYTHON (or python3) imports.",
    environ = ["MONOLITH_TF_PYTHON"],
    local = True,
)
