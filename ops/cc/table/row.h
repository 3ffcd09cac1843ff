// row.h
//
// The header of a row, the first bytes of its record:
//
//   0         8                              12            16
//   +---------+-------------------+----------+-------------+
//   | id      | cut (28 bits)     | frequency| last update |
//   +---------+-------------------+----------+-------------+
//                                   (4 bits)
//
// A table that does not track changes has the id alone. Only members that
// a record has may be accessed. With a cap, 8 more bytes follow: the number of
// the table's update that changed the row last (RowLayout::UpdateOf).
//
// Frequency is Morris's approximate counter of an id's occurrences (Counting
// large numbers of events in small registers, CACM 21 (1978)): level f means
// 2^f - 1 of them, and an occurrence raises it with probability 2^-f. It is
// kept if the policy needs it, else it is 0.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_H_

#include <cstdint>

namespace monolith_tf {

// The largest cut: rows keep it in 28 bits. At ten cuts per second, it lasts
// ten months; then the server must be restarted from a snapshot.
inline constexpr int64_t kMaxCut = (int64_t{1} << 28) - 2;

struct Row {
  static constexpr int kMaxFrequency = 15;

  int64_t id;
  // The stripe's cut at the last change.
  uint32_t cut : 28;
  uint32_t frequency : 4;
  // Event time of the last update, seconds since the epoch; earlier by the
  // difference if the ttl of that update was shorter than the table's
  // (packed_count.h). The latest of all updates: the row expires when the last
  // of their ttls is over.
  uint32_t last_update;
};
static_assert(sizeof(Row) == 16, "documented above and in table.h");

// The metadata of a row in a checkpoint: the event time of the last update in
// the low 32 bits, the frequency above.
inline int64_t StampOf(const Row& row) {
  return static_cast<int64_t>(row.frequency) << 32 | row.last_update;
}

// The frequency after `count` >= 0 more occurrences: unbiased, and a function
// of `random_bits`.
inline int RaisedFrequency(int frequency, int64_t count, uint64_t random_bits) {
  const uint64_t occurrences =
      (uint64_t{1} << frequency) +
      static_cast<uint64_t>(count < 65536 ? count : 65536);
  int raised = 63 - __builtin_clzll(occurrences);
  const uint64_t rest = occurrences - (uint64_t{1} << raised);
  if ((random_bits & ((uint64_t{1} << raised) - 1)) < rest) ++raised;
  return raised < Row::kMaxFrequency ? raised : Row::kMaxFrequency;
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_H_
