// row.h: what lies in a record of a stripe's arena.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_H_

#include <cstdint>

namespace monolith_tf {

struct Row {
  int64_t id;
  // The stripe's cut at the last change.
  uint32_t cut;
  // Event time of the last update, seconds since the epoch.
  uint32_t last_update;

  float* values() { return reinterpret_cast<float*>(this + 1); }
  const float* values() const {
    return reinterpret_cast<const float*>(this + 1);
  }
};
static_assert(sizeof(Row) == 16, "documented in table.h");

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_H_
