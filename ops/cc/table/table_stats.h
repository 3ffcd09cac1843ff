// table_stats.h
//
// Statistics of a table, with the same names in every layer (MonolithStats,
// mt.stats, the Prometheus collector).

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_STATS_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_STATS_H_

#include <cstdint>

namespace monolith_tf {

// Name of a field, in the order of the fields.
#define MONOLITH_TABLE_STATS(FIELD)                                           \
  /* Now: ids with a row, ids that are counted and not admitted. */           \
  FIELD(num_rows)                                                             \
  FIELD(num_counted)                                                          \
  /* Since the table was made: rows made by an update, and rows written by */ \
  /* assignments and restores; rows removed by time, by the cap, by call. */  \
  FIELD(num_admitted)                                                         \
  FIELD(num_written)                                                          \
  FIELD(num_expired)                                                          \
  FIELD(num_capped)                                                           \
  FIELD(num_removed)                                                          \
  /* Updates of ids that were dropped: not admitted, or a gradient that is */ \
  /* not finite or too large (table.h). */                                    \
  FIELD(num_rejected)                                                         \
  FIELD(num_bad_gradients)                                                    \
  /* Event times that were too far in the future, and not believed. */        \
  FIELD(num_future_times)                                                     \
  /* How often the log of changed ids was dropped at its limit. */            \
  FIELD(num_dropped_logs)                                                     \
  /* Bytes: records of rows in use, all memory for rows, of the index, of */  \
  /* counters, of the sketch, of logs, of pretrained rows; of the pages of */ \
  /* the pool that rows, index and counters are cut from, of those that */    \
  /* hold nothing (reserved, or not yet given back), and of huge ones. */     \
  FIELD(row_bytes)                                                            \
  FIELD(arena_bytes)                                                          \
  FIELD(index_bytes)                                                          \
  FIELD(counter_bytes)                                                        \
  FIELD(sketch_bytes)                                                         \
  FIELD(log_bytes)                                                            \
  FIELD(pretrained_bytes)                                                     \
  FIELD(pool_bytes)                                                           \
  FIELD(idle_bytes)                                                           \
  FIELD(huge_page_bytes)                                                      \
  /* The index: entries, room for entries, entries in the stash; of a */      \
  /* sample of the entries, how many there were and how many lie in */        \
  /* their first bucket. */                                                   \
  FIELD(index_entries)                                                        \
  FIELD(index_capacity)                                                       \
  FIELD(index_stash)                                                          \
  FIELD(probed_entries)                                                       \
  FIELD(probed_in_first)

struct TableStats {
#define MONOLITH_FIELD(name) int64_t name = 0;
  MONOLITH_TABLE_STATS(MONOLITH_FIELD)
#undef MONOLITH_FIELD
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_STATS_H_
