#!/bin/sh
# Builds and runs the C++ tests of the table core.
#
#   tests/cc/run.sh [none|address,undefined|thread] [name of a test ...]
#
# PYTHON is the interpreter whose TensorFlow lends its Abseil (default:
# python3), CXX the compiler, BUILD_DIR where objects go, JOBS how many
# compilers run at once (default: 2).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
sanitizer=${1:-none}
[ $# -gt 0 ] && shift
python=${PYTHON:-python3}
cxx=${CXX:-g++}
build=${BUILD_DIR:-$root/build/cc}/$sanitizer
tensorflow=$("$python" -c '
import importlib.util
spec = importlib.util.find_spec("tensorflow")
print(spec.submodule_search_locations[0] if spec else "")')
if [ -z "$tensorflow" ]; then
  echo "No TensorFlow for $python. Set PYTHON to one that has it." >&2
  exit 1
fi

flags="-std=c++17 -g -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno"
flags="$flags -I$root -isystem $tensorflow/include"
case $sanitizer in
  none) flags="$flags -O3" ;;
  *) flags="$flags -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all"
     flags="$flags -fsanitize=$sanitizer" ;;
esac

mkdir -p "$build"
export root cxx flags build
{
  ls "$root"/ops/cc/table/*.cc
  ls "$root"/tests/cc/*_test.cc
} | xargs -P "${JOBS:-2}" -I{} sh -c '
  object=$build/$(basename {} .cc).o
  depend=$build/$(basename {} .cc).d
  if [ -f "$object" ] && [ -f "$depend" ] &&
     [ -z "$(sed "s/^[^:]*://; s/\\\\$//" "$depend" | xargs -n1 |
             while read -r file; do
               [ "$file" -nt "$object" ] && echo "$file"; done)" ]; then
    exit 0
  fi
  $cxx $flags -MMD -MF "$depend" -c {} -o "$object" || exit 255'

core=$(for file in "$root"/ops/cc/table/*.cc; do
  echo "$build/$(basename "$file" .cc).o"; done)
for file in "$root"/tests/cc/*_test.cc; do
  name=$(basename "$file" .cc)
  if [ $# -gt 0 ]; then
    case " $* " in *" $name "*) ;; *) continue ;; esac
  fi
  # shellcheck disable=SC2086
  $cxx $flags "$build/$name.o" $core -o "$build/$name" \
    -L"$tensorflow" -l:libtensorflow_framework.so.2 \
    -Wl,-rpath,"$tensorflow" -lgtest -lgtest_main -lpthread
  echo "== $name ($sanitizer)"
  "$build/$name" --gtest_brief=1
done
