#!/bin/sh
# Builds and runs the C++ tests of the table core.
#
#   tests/cc/run.sh [none|address,undefined|thread] [name of a test ...]
#
# PYTHON is the interpreter whose TensorFlow lends its Abseil (default:
# python3), CXX the compiler, BUILD_DIR where objects go, JOBS how many
# compilers, then tests, run at once (default: 2).
set -eu

cd "$(dirname "$0")/../.."
sanitizer=${1:-none}
[ $# -eq 0 ] || shift
tensorflow=$("${PYTHON:-python3}" -c '
import importlib.util
spec = importlib.util.find_spec("tensorflow")
print(spec.submodule_search_locations[0] if spec else "")')
if [ -z "$tensorflow" ]; then
  echo "${PYTHON:-python3} has no TensorFlow. Set PYTHON to one that has." >&2
  exit 1
fi

# Sanitizers keep some optimization of the core, or the random operations take
# minutes. The tests themselves get little: most of the time is theirs to
# compile. Only TSan slows a test that is not optimized more than that.
case $sanitizer in
  none) mode="-O3" test_mode="-O0" ;;
  *) mode="-O1 -fno-omit-frame-pointer -fno-sanitize-recover=all
     -fsanitize=$sanitizer" test_mode="-O0" ;;
esac
[ "$sanitizer" != thread ] || test_mode="-O1"
flags="-std=c++17 -g1 -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno
  $mode -I. -isystem $tensorflow/include"
libraries="-L$tensorflow -l:libtensorflow_framework.so.2
  -Wl,-rpath,$tensorflow -lgtest -lgtest_main -lpthread"
# A TensorFlow of another version has another Abseil.
out=${BUILD_DIR:-.build/cc}/$(echo "$tensorflow" | cksum | cut -d' ' -f1)
out=$out/$sanitizer

if [ $# -eq 0 ]; then
  for test in tests/cc/*_test.cc; do
    set -- "$@" "$(basename "$test" .cc)"
  done
fi
make -s -j"${JOBS:-2}" -f tests/cc/build.mk CXX="${CXX:-g++}" OUT="$out" \
  FLAGS="$(echo $flags)" TEST_FLAGS="$test_mode" LIBRARIES="$(echo $libraries)" GOALS="$*"
# As many at once as compilers; what one prints stays together.
printf '%s\n' "$@" | out=$out sanitizer=$sanitizer TF_CPP_MIN_LOG_LEVEL=2 \
  xargs -P "${JOBS:-2}" -I TEST sh -c '
    code=0
    "$out/TEST" --gtest_brief=1 >"$out/TEST.log" 2>&1 || code=$?
    { echo "== TEST ($sanitizer)"; cat "$out/TEST.log"; } || code=1
    exit $code'
