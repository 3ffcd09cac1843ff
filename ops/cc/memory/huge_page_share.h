// huge_page_share.h
//
// The share of memory that the system backs with huge pages. Huge pages are
// requested, but not guaranteed, and make lookups 2 to 4 times faster.

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

// Returns the share, 0 to 1, of the resident bytes of these ranges that lies in
// huge pages; 0 if nothing is resident or the system does not report it. The
// system reports it per mapping and joins neighbouring mappings, so a range
// counts together with what it was joined to. Reads the process's list of
// mappings from a file: call it for a metric, not for every step.
double HugePageShare(const std::vector<MemoryRange>& ranges);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_HUGE_PAGE_SHARE_H_
