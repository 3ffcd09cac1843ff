// table_cap.h
//
// How many rows the cap of a table allows.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_CAP_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_CAP_H_

#include <cstdint>

#include "ops/cc/config/table_config.h"
#include "ops/cc/table/row_layout.h"

namespace monolith_tf {

// How long segments of rows may get in a table with this cap: those that its
// stripes have just begun count as well, so they are to be few bytes of it.
int64_t SegmentBytesOf(const EvictionConfig& eviction);

// What a row takes of max_bytes, and an id that waits for admission where it is
// counted exactly: all that grows with them, at its worst. So the arenas
// and the index of a table that was swept keep within max_bytes, of 1 MiB
// within 2 % more. `eviction` has max_bytes.
struct CappedBytes {
  double of_row;
  double of_counter;
};
CappedBytes CappedBytesOf(const EvictionConfig& eviction,
                          const RowLayout& layout);

// The most rows that `eviction` allows, 0 for any number: of max_rows and
// max_bytes what is less, and at least 1.
int64_t CapOf(const EvictionConfig& eviction, const RowLayout& layout);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_CAP_H_
