// huge_page_share.h
//
// How much of a table's memory the system keeps in huge pages. It is asked
// for, never granted for sure, and lookups depend on it (2x to 4x).

#ifndef MONOLITH_TF_OPS_CC_MEMORY_HUGE_PAGE_SHARE_H_
#define MONOLITH_TF_OPS_CC_MEMORY_HUGE_PAGE_SHARE_H_

#include <cstdint>
#include <vector>

namespace monolith_tf {

// Addresses [begin, end).
struct MemoryRange {
  uintptr_t begin;
  uintptr_t end;
};

// The share, 0 to 1, of the resident bytes around these ranges that lies in
// huge pages; 0 when nothing is resident or the system does not tell. The
// system tells it for a whole mapping, and it joins neighbouring mappings: a
// range counts with what it was joined to. Reads a file of the length of the
// process's list of mappings: for a metric, not for every step.
double HugePageShare(const std::vector<MemoryRange>& ranges);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_HUGE_PAGE_SHARE_H_
