// count_sketch.h
//
// Counts occurrences of ids in a fixed number of bytes: a count-min sketch
// (Cormode, Muthukrishnan: An improved data stream summary, J. Algorithms 55
// (2005)) with conservative update (Estan, Varghese: New directions in traffic
// measurement and accounting, SIGCOMM 2002), divided into cache lines, so that
// an id touches one.
//
// A line
//
//   0          4                                                  64
//   +----------+--------------------------+--------------------------+
//   | interval | cells: current           | cells: previous          |
//   +----------+--------------------------+--------------------------+
//
// Cells have one byte for counts up to 255, else two: 60 or 30 per line, half
// of them for the previous interval if there is a window (occurrence_window.h).
// An id has four cells of its line; its count is the least of them, so never
// less than the truth. A line rolls over when an id touches it: there is no
// sweep.
//
// Error. With L other ids counted in a line of c (current) cells, a single id
// is taken for a more frequent one with probability of about
// (1 - (1 - 1 / c)^(4 L))^4, averaged over the Poisson distribution of L: 16
// bytes per id (mean L = 4, c = 60) give 0.6 %, 8 bytes per id 4 %.
//
// Lines are grouped by the checkpoint group of the ids (partition.h), and
// hashing is the same in every process. So a sketch can be saved by groups and
// restored on any number of shards. Merging what shards counted of one group
// takes the larger cell, which is never less than the truth either, because an
// id is counted on one shard.
//
// Thread-safe: one lock per group. Memory: that of the groups that were
// touched.

#ifndef MONOLITH_TF_OPS_CC_ADMISSION_COUNT_SKETCH_H_
#define MONOLITH_TF_OPS_CC_ADMISSION_COUNT_SKETCH_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/memory/memory_block.h"
#include "ops/cc/memory/spin_lock.h"

namespace monolith_tf {

class CountSketch {
 public:
  static constexpr int kNumProbes = 4;

  // About `bytes` >= 4096 over all groups, for counts up to `max_count` <=
  // OccurrenceCounts::kMax.
  CountSketch(int64_t bytes, int64_t max_count, bool has_window, uint64_t key);
  CountSketch(const CountSketch&) = delete;
  CountSketch& operator=(const CountSketch&) = delete;

  // Adds `count` >= 1 occurrences of `id` in `interval` and returns its count.
  // Returns kMax if there is no memory: ids are admitted rather than lost.
  int64_t Add(int64_t id, int64_t count, uint32_t interval);

  // The largest count that Add can return exactly.
  int64_t max_count() const { return is_wide_ ? OccurrenceCounts::kMax : 255; }
  int64_t memory_bytes() const;

  // The saved state of a group: its lines, 8 numbers each. Empty when nothing
  // was counted in it.
  std::vector<int64_t> Export(int group) const;
  // Merges a saved group, or the concatenated ones of several shards, with the
  // present counts. InvalidArgument, and no change, if a sketch of another size
  // saved it.
  absl::Status Import(int group, const int64_t* saved, int64_t num_saved);
  void Clear();

 private:
  struct alignas(64) Line {
    uint32_t interval;
    uint8_t cells[60];
  };
  static_assert(sizeof(Line) == 64, "one cache line");

  struct alignas(64) Group {
    mutable SpinLock lock;
    MemoryBlock memory ABSL_GUARDED_BY(lock);
    Line* lines ABSL_GUARDED_BY(lock) = nullptr;
  };

  template <typename Cell>
  int64_t AddToLine(Line* line, uint64_t hash, int64_t count,
                    uint32_t interval) const;
  template <typename Cell>
  void MergeLine(const Line& from, Line* to) const;
  template <typename Cell>
  void RollOver(Line* line, uint32_t interval) const;
  // Returns false if there is no memory.
  bool MakeLines(Group* group) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(group->lock);

  const int64_t num_lines_;
  const bool is_wide_;
  const bool has_window_;
  const uint64_t key_;
  Group groups_[kNumGroups];
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_ADMISSION_COUNT_SKETCH_H_
