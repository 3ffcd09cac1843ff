"""The GoogleTest of Debian's `libgtest-dev` as a Bazel repository."""

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "gtest_main",
    srcs = [
        "googletest/src/gtest-all.cc",
        "googletest/src/gtest_main.cc",
    ],
    hdrs = glob(["include/gtest/**"]),
    includes = ["googletest", "include"],
    linkopts = ["-pthread"],
    textual_hdrs = glob(["googletest/src/*"]),
)
"""

def _googletest_repository_impl(ctx):
    if not ctx.path("/usr/src/googletest/googletest").exists:
        fail("GoogleTest is not installed: apt-get install libgtest-dev")
    ctx.symlink("/usr/src/googletest/googletest", "googletest")
    ctx.symlink("/usr/include/gtest", "include/gtest")
    ctx.file("BUILD", _BUILD)

googletest_repository = repository_rule(
    implementation = _googletest_repository_impl,
    doc = "Links the sources and headers that libgtest-dev installs.",
    local = True,
)
