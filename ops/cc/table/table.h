// table.h
//
// A table maps int64 ids to rows of float32 weights and optimizer slots. Every
// one of the 2^64 ids is valid, and two ids never share a row.
//
// Layout
//
//   id --keyed hash--> stripe (one of kNumStripes)
//
//   stripe   +-------------+   handle   +-----------------------------------+
//   lock --> | CuckooIndex | ---------> | RowArena                          |
//            | 64-byte     |            | id | cut | last update | weights, |
//            | buckets     |            |                       slots       |
//            +-------------+            +-----------------------------------+
//            | TouchedLog: ids changed since the stripe's cut                |
//            +---------------------------------------------------------------+
//
// Concurrency. Every method may be called from any number of threads at once.
// A stripe's lock is held for the copy or the update of a few neighbouring
// rows of the batch (at most kMaxGroupRows rows and about kMaxGroupBytes
// bytes), so:
//   * the update of one row is atomic: no reader sees half of it;
//   * a batch is not atomic: a reader may see some of its rows new, some old;
//   * growth, removal, export and cuts stop nobody for longer than that.
// Rows never move. Removal frees a row's memory for other rows of its stripe;
// only Clear() and destruction give memory back to the system.
//
// Cost. Lookup and update are O(1) an id, with no allocation; growth of a
// stripe's index is spread over the inserts that follow (cuckoo_index.h).
// Iteration is O(rows ever alive at once). Memory above the floats of a row:
// 16 bytes of row header and 6.8 to 15 bytes of index.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/cc/table/hash.h"
#include "ops/cc/table/table_config.h"

namespace monolith_tf {

class Initializer;
class MemoryPool;
class Optimizer;
class Stripe;
struct StripePart;

// One table's part of an update. The pointers need to live for the call only.
struct ApplyRequest {
  // [n]. Meant to be distinct; a repeated id is stepped again, in order.
  const int64_t* ids = nullptr;
  // [n] occurrences of each id in the batch, >= 1.
  const int64_t* counts = nullptr;
  // [n, dim] gradients, already summed over the occurrences.
  const float* gradients = nullptr;
  int64_t n = 0;
  // The number of this update, 1 for the first: Adam's bias correction.
  int64_t global_step = 0;
  // Seconds since the epoch, 0 .. 2^32 - 1.
  int64_t event_time = 0;
  float learning_rate = 0;
};

class Table {
 public:
  static constexpr int kNumStripes = 64;
  // Bounds of the work done under one hold of a stripe's lock.
  static constexpr int kMaxGroupRows = 64;
  static constexpr int64_t kMaxGroupBytes = 32 * 1024;

  // An empty table, or the InvalidArgument of config.Validate().
  static absl::StatusOr<std::unique_ptr<Table>> Create(
      const TableConfig& config);

  ~Table();
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const TableConfig& config() const { return config_; }
  int64_t dim() const { return config_.dim; }
  // Floats of a row with its slots: dim * (1 + number of slots).
  int64_t row_width() const { return row_width_; }

  // Copies the weights of `ids` [n] to `rows` [n, dim], in order; an id
  // without a row gets its initial row and stays without one. `exists` [n]
  // says which were there; it may be null.
  void Lookup(const int64_t* ids, int64_t n, float* rows, bool* exists) const;

  // The InvalidArgument that Apply would answer with; changes nothing. For a
  // caller that updates several tables and wants all of them checked first.
  absl::Status Check(const ApplyRequest& request) const;

  // One optimizer step for each id; an unseen id gets its initial row first.
  // The row's time becomes event_time, unless it was later.
  // InvalidArgument before the first row changes, or ResourceExhausted when
  // memory ends, after which a part of the batch is applied.
  absl::Status Apply(const ApplyRequest& request);

  // Does what Apply does, after Check said yes, for one part of the ids:
  // `part` of 0 .. num_parts - 1, num_parts in [1, kNumStripes]. All parts
  // together, in any order or at once, leave exactly what Apply leaves: equal
  // ids are of one part.
  absl::Status ApplyPart(const ApplyRequest& request, int part, int num_parts);

  // Sets the weights of `ids` [n] to `rows` [n, dim] and keeps the slots; a
  // new row gets initial slots.
  absl::Status Assign(const int64_t* ids, const float* rows, int64_t n);

  // Removes rows; returns how many existed.
  int64_t Remove(const int64_t* ids, int64_t n);

  // Removes every row that is there when the call starts and gives the memory
  // back. While changes are tracked, each is logged as a removal.
  void Clear();

  // Rows now.
  int64_t size() const;
  // Resident bytes of index, rows and logs, counted in touched pages.
  int64_t memory_bytes() const;

  // Appends the next rows of an iteration: ids [m], rows [m, row_width]
  // and the event time of their last update [m], m <= max_rows (>= 1).
  // Starts at cursor 0 and returns the next cursor, or -1 at the end. A row
  // that exists throughout is returned exactly once, whatever happens to
  // others meanwhile; one removed and inserted again may come twice or never.
  // An output may be null.
  int64_t ExportChunk(int64_t cursor, int64_t max_rows,
                      std::vector<int64_t>* ids, std::vector<float>* rows,
                      std::vector<int64_t>* last_update) const;

  // Every row whose checkpoint group (partition.h) lies in
  // [first_group, last_group), ordered by group and then by id.
  // `group_counts` gets the rows of each group, [last_group - first_group].
  // The outputs are replaced. A row that exists throughout is in it once.
  // Each call walks the whole table: ask for many groups at a time.
  void ExportGroups(int first_group, int last_group,
                    std::vector<int64_t>* group_counts,
                    std::vector<int64_t>* ids,
                    std::vector<int64_t>* last_update,
                    std::vector<float>* rows) const;

  // Writes whole rows [n, row_width] with their slots and times, over what
  // may be there.
  absl::Status Import(const int64_t* ids, const int64_t* last_update,
                      const float* rows, int64_t n);

  // Deltas. TableSet numbers the cuts; `cut` is 1 .. kMaxCut and larger than
  // any that this table was given before.

  // From now on the ids of changed rows are logged, under `cut`. Does nothing
  // when changes are tracked already.
  void StartTracking(int64_t cut);
  // Stops logging and drops what was logged.
  void StopTracking();
  // Appends the ids that changed since the last call to `ids` (null drops
  // them) and goes on under `new_cut`. A stripe's log is taken and its cut is
  // set under its lock, so an update is either in this log or in the next.
  // Only while changes are tracked.
  void SwapTouched(int64_t new_cut, std::vector<int64_t>* ids);
  // The present state of `ids`: exists [ids.size()], and appended to `rows`
  // the weights of those that exist, in order.
  void ReadDelta(const std::vector<int64_t>& ids, bool* exists,
                 std::vector<float>* rows) const;

 private:
  explicit Table(const TableConfig& config);

  // What Lookup and its kin share. Calls found(position, row) under the lock
  // of the row's stripe for the ids that have a row, and missing(position)
  // without it for the others; `bytes` of a row are brought into the cache.
  template <typename Found, typename Missing>
  void ForEachRow(const int64_t* ids, int64_t n, int64_t bytes,
                  const Found& found, const Missing& missing) const;
  // What Apply, Assign and Import share, for the ids of `part`: finds or
  // inserts the row of each id, calls initialize(row) for the new ones and
  // update(group, rows, count) for the first `count` ids of a group, all under
  // the stripe's lock.
  template <typename Initialize, typename Update>
  absl::Status ChangeRows(const int64_t* ids, int64_t n, StripePart part,
                          const Initialize& initialize, const Update& update);
  // The ids of a stripe whose group is in [first_group, last_group), added to
  // ids_of_group[group - first_group].
  void CollectIds(const Stripe& stripe, int first_group, int last_group,
                  std::vector<std::vector<int64_t>>* ids_of_group) const;
  // Writes the initial weights of `id` to `row` [dim].
  void InitializeRow(int64_t id, float* row) const;
  absl::Status CheckBatch(const char* method, int64_t n, bool has_null) const;

  const TableConfig config_;
  const std::unique_ptr<const Initializer> initializer_;
  const std::unique_ptr<const Optimizer> optimizer_;
  const int64_t row_width_;
  const uint64_t table_key_;
  const KeyedHash hash_;
  // Rows of one hold of a lock, from the two bounds above.
  const int group_rows_;
  // Outlives the stripes.
  const std::unique_ptr<MemoryPool> pool_;
  std::unique_ptr<Stripe> stripes_[kNumStripes];
};

// The largest cut: rows keep it in 32 bits. At ten cuts a second it lasts
// thirteen years.
inline constexpr int64_t kMaxCut = 0xFFFFFFFE;

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_H_
