#include "ops/cc/memory/available_memory.h"

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

namespace monolith_tf {
namespace {

// The number behind `name` at the start of a line, in the unit of the file; -1
// when there is none.
int64_t NumberIn(const std::string& path, const char* name) {
  std::FILE* const file = std::fopen(path.c_str(), "r");
  if (file == nullptr) return -1;
  const size_t length = std::strlen(name);
  char line[256];
  int64_t number = -1;
  while (number < 0 && std::fgets(line, sizeof(line), file) != nullptr) {
    if (std::strncmp(line, name, length) != 0 ||
        std::sscanf(line + length, "%" SCNd64, &number) != 1) {
      number = -1;
    }
  }
  std::fclose(file);
  return number;
}

// What a control group may take, or -1 without a limit. Cached files that
// nobody reads count as used and go when memory is wanted.
int64_t LeftOf(const std::string& limit_path, const std::string& usage_path,
               const std::string& stat_path, const char* inactive_file) {
  const int64_t limit = NumberIn(limit_path, "");
  const int64_t usage = NumberIn(usage_path, "");
  if (limit < 0 || usage < 0) return -1;
  const int64_t cached = NumberIn(stat_path, inactive_file);
  return std::max<int64_t>(
      0, limit - usage + std::max<int64_t>(0, std::min(cached, usage)));
}

int64_t LeastKnown(int64_t a, int64_t b) {
  return a < 0 ? b : b < 0 ? a : std::min(a, b);
}

}  // namespace

int64_t AvailableMemory(const std::string& root) {
  const int64_t kb = NumberIn(root + "/proc/meminfo", "MemAvailable:");
  const std::string second = root + "/sys/fs/cgroup/memory.";
  const std::string first = root + "/sys/fs/cgroup/memory/memory.";
  return LeastKnown(
      kb < 0 ? -1 : kb * 1024,
      LeastKnown(LeftOf(second + "max", second + "current", second + "stat",
                        "inactive_file "),
                 LeftOf(first + "limit_in_bytes", first + "usage_in_bytes",
                        first + "stat", "total_inactive_file ")));
}

}  // namespace monolith_tf
