#!/bin/sh
# Builds and runs a benchmark of the table core; arguments go to it.
#
# PROGRAM is which: table_benchmark (default) or pause_benchmark. PYTHON is the
# interpreter whose TensorFlow lends its Abseil (default: python3), CXX the
# compiler, BUILD_DIR where objects go.
set -eu

cd "$(dirname "$0")/../.."
program=${PROGRAM:-table_benchmark}
tensorflow=$("${PYTHON:-python3}" -c '
import importlib.util
spec = importlib.util.find_spec("tensorflow")
print(spec.submodule_search_locations[0] if spec else "")')
if [ -z "$tensorflow" ]; then
  echo "${PYTHON:-python3} has no TensorFlow. Set PYTHON to one that has." >&2
  exit 1
fi
out=${BUILD_DIR:-.build/cc}/$(echo "$tensorflow" | cksum | cut -d' ' -f1)/none
make -s -j"${JOBS:-2}" -f tests/cc/build.mk CXX="${CXX:-g++}" OUT="$out" \
  FLAGS="-std=c++17 -g -Wall -Wextra -Werror -ffp-contract=off \
-fno-math-errno -O3 -I. -isystem $tensorflow/include" \
  LIBRARIES="-L$tensorflow -l:libtensorflow_framework.so.2 \
-Wl,-rpath,$tensorflow -lpthread" \
  GOALS="$program"
TF_CPP_MIN_LOG_LEVEL=2 exec "$out/$program" "$@"
