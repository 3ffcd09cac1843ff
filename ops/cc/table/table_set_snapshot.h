// table_set_snapshot.h
//
// The state of a table set at one moment: what TableSet::BeginSnapshot returns.
// It is read once, while updates continue (row_snapshot.h), and lets go of the
// tables when it is destroyed. It keeps them alive, but not the set.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_SNAPSHOT_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_SNAPSHOT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "ops/cc/table/row_snapshot.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {

struct TableSnapshot {
  std::shared_ptr<Table> table;
  Clock clock;
  // Whether it holds all rows; otherwise the changes after the parent.
  bool is_full = true;
  // Number of rows at the moment.
  int64_t num_rows = 0;
  // Per stripe the ids that changed since the parent, sorted; empty if is_full.
  std::vector<std::vector<int64_t>> changed;
  // Per checkpoint group what admission remembers.
  std::vector<std::vector<int64_t>> filter;
  // Destroyed before `table`.
  std::unique_ptr<RowSnapshot> rows;
};

struct TableSetSnapshot {
  // Copies of changed rows take at most about this much: WritePart drains
  // them at a quarter of it, and gives up at the whole.
  static constexpr int64_t kMaxCopiedBytes = int64_t{48} << 20;

  int shard = 0;
  int num_shards = 1;
  int64_t generation = 0;
  // The parent's cut; -1 for a full snapshot.
  int64_t from_cut = -1;
  int64_t to_cut = 0;
  // High-water marks of requests at the moment.
  std::vector<int64_t> requests;

  // Whether the tables were restored since, so that it must not be used.
  std::atomic<bool> is_broken{false};
  // Bytes of the copies of rows that changed after the moment.
  std::atomic<int64_t> copied_bytes{0};
  // Sorted by name. Destroyed before the count above.
  std::vector<TableSnapshot> tables;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_SNAPSHOT_H_
