#include "ops/cc/memory/huge_page_share.h"

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace monolith_tf {

double HugePageShare(const std::vector<MemoryRange>& ranges) {
  if (ranges.empty()) return 0;
  std::FILE* const file = std::fopen("/proc/self/smaps", "r");
  if (file == nullptr) return 0;
  // A mapping is a line "begin-end ..." and lines "Name:   n kB".
  char line[512];
  bool is_ours = false;
  int64_t resident_kb = 0;
  int64_t huge_kb = 0;
  while (std::fgets(line, sizeof(line), file) != nullptr) {
    uintptr_t begin;
    uintptr_t end;
    int64_t kb;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2) {
      is_ours = false;
      for (const MemoryRange& range : ranges) {
        is_ours = is_ours || (range.begin < end && begin < range.end);
      }
    } else if (!is_ours) {
      continue;
    } else if (std::sscanf(line, "Rss: %" SCNd64, &kb) == 1) {
      resident_kb += kb;
    } else if (std::sscanf(line, "AnonHugePages: %" SCNd64, &kb) == 1) {
      huge_kb += kb;
    }
  }
  std::fclose(file);
  if (resident_kb == 0) return 0;
  return static_cast<double>(huge_kb) / static_cast<double>(resident_kb);
}

}  // namespace monolith_tf
