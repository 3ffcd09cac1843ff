// table_cap.h
//
// How many rows the cap of a table allows.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_CAP_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_CAP_H_

#include <cstdint>

#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/table_config.h"

namespace monolith_tf {

// What max_bytes counts: all that grows with rows and with ids that wait for
// admission, at its worst.
struct CappedBytes {
  // The record as its arena pads it, its bit there, and its part of an index
  // that was just split.
  double of_row;
  // The same of the counter of an id that waits.
  double of_counter;
};
CappedBytes CappedBytesOf(const RowLayout& layout);

// The most rows that `eviction` allows, 0 for any number: of max_rows and
// max_bytes what is less, and at least 1.
int64_t CapOf(const EvictionConfig& eviction, const RowLayout& layout);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_CAP_H_
