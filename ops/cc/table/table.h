// table.h
//
// A table maps int64 ids to rows of weights and optimizer slots. Every one of
// the 2^64 ids is valid, and two ids never share a row.
//
// Layout
//
//   id --keyed hash--> stripe (one of kNumStripes)
//
//   stripe   +-------------+   handle   +-----------------------------------+
//   lock --> | CuckooIndex | ---------> | rows: RowArena of records         |
//            | 64-byte     |            | (row_layout.h)                    |
//            | buckets     |   handle   +-----------------------------------+
//            |             | ---------> | counters of ids not admitted      |
//            +-------------+            +-----------------------------------+
//            | TouchedLog: ids changed since the stripe's cut                |
//            +---------------------------------------------------------------+
//
// The life of an id
//
//   unseen --(occurs in an update)--> counted --(often enough)--> admitted
//     ^          without admission rules: admitted at once           |
//     |                                                              |
//     +--------------- removed, expired, evicted for the cap --------+
//
// Only an update (Apply) counts; a lookup changes nothing. The update that
// brings an id over the bar makes its row and steps it. Until then, and after
// it went, an id reads its initial row, or zeros if admission.reads_zeros. An
// id that comes back starts anew: initial weights, initial slots, and it is
// counted anew (a sketch without a window remembers it). A row whose time ran
// out is gone for updates from that moment on; lookups see it until the sweep
// passes.
//
// Gradients that are not finite, or beyond 2^48, would poison a row for good:
// such an id is left as it is in that step, not even counted, and noted in
// stats().num_bad_gradients. The rest of the batch is applied. Where a
// precision makes gradients larger, the bound is lower by as much as it may
// (Precision::Steepness).
//
// Concurrency. Every method may be called from any number of threads at once.
// A stripe's lock is held for the copy or the update of a few neighbouring
// rows of the batch (a run: at most StripeSet::kMaxRunRows rows and about
// kMaxRunBytes bytes), so:
//   * the update of one row is atomic: no reader sees half of it;
//   * a batch is not atomic: a reader may see some of its rows new, some old;
//   * growth, removal, sweeps, export and cuts stop nobody for longer than
//     that: under one hold a run moves at most kBucketsPerInsert buckets of
//     the index an insert, sweeps at most kSweptPerId rows an id, and moves at
//     most kMovesPerRun rows of the arena; besides its runs an update sweeps
//     kSweptPerUpdate rows of one stripe more.
// Rows move only to close gaps that removal left; then memory goes back to the
// system, a 2 MiB page at a time. So that whole pages get free, a run may
// also move a slab of an arena, of up to 128 KiB, and a chunk of the index.
//
// Cost. Lookup and update are O(1) an id. Iteration is O(rows ever alive at
// once). Memory above the floats of a row: 16 bytes of header (8 when changes
// are not tracked), 8 more with a cap, and 7 to 11 bytes of index; 16 and index
// for a counter.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/table/admission_filter.h"
#include "ops/cc/table/cap_enforcer.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_exporter.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
#include "ops/cc/table/striped_batch.h"
#include "ops/cc/table/table_stats.h"

namespace monolith_tf {

// One table's part of an update. The pointers need to live for the call only.
struct ApplyRequest {
  // [n]. Meant to be distinct; a repeated id is stepped again, in order.
  const int64_t* ids = nullptr;
  // [n] occurrences of each id in the batch, 1 .. kMaxOccurrences, and its own
  // terms instead of the table's (packed_count.h): a feature may have a
  // min_count of its own, above 1 if admission counts, or a probability, and a
  // ttl of at most the table's.
  const int64_t* counts = nullptr;
  // [n, dim] gradients, already summed over the occurrences.
  const float* gradients = nullptr;
  int64_t n = 0;
  // The number of this update, 1 for the first: Adam's bias correction.
  int64_t global_step = 0;
  // Seconds since the epoch, 0 .. 2^32 - 1.
  int64_t event_time = 0;
  // [num_segments].
  const float* learning_rates = nullptr;
  // Whether FiniteAndBounded (optimizer.h) holds for all gradients; else each
  // is looked at.
  bool gradients_are_good = false;
};

// How far a table has come: the number of its latest update, 0 before the
// first, and the latest event time that it has seen, in seconds since the
// epoch.
struct Clock {
  int64_t global_step = 0;
  int64_t event_time = 0;
};

class Table {
 public:
  static constexpr int kNumStripes = StripeSet::kNumStripes;
  // Rows and counters that a run of an update sweeps per id. More than one: of
  // an update whose ids are all new, the sweep would else see just the rows
  // that the update made, and never come around.
  static constexpr int kSweptPerId = 2;
  // Of another stripe, each in its turn.
  static constexpr int kSweptPerUpdate = 64;

  // An empty table, or the InvalidArgument of ValidateConfig, or
  // ResourceExhausted when there is no memory for its initial capacity.
  static absl::StatusOr<std::unique_ptr<Table>> Create(
      const TableConfig& config);

  ~Table();
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const TableConfig& config() const { return config_; }
  int64_t dim() const { return layout_.dim(); }
  int num_segments() const { return layout_.num_segments(); }
  bool has_cap() const { return cap_.has_cap(); }
  // Floats of a row with its slots.
  int64_t row_width() const { return layout_.row_width(); }

  // Ids of `rows` start from these weights of a segment, now and whenever they
  // come back. InvalidArgument when the segment is not there or has another
  // dim. Rows that exist stay as they are.
  absl::Status SetPretrained(int segment,
                             std::unique_ptr<const PretrainedRows> rows);

  // Copies the values of `ids` [n] to `rows` [n, dim], in order; an id
  // without a row stays without one. `exists` [n] says which were there; it
  // may be null. `is_large` says that what `rows` is part of is, as of
  // kMinStreamedBytes.
  void Lookup(const int64_t* ids, int64_t n, float* rows, bool* exists,
              bool is_large = false) const;

  // The InvalidArgument that Apply would answer with; changes nothing. For a
  // caller that updates several tables and wants all of them checked first.
  absl::Status Check(const ApplyRequest& request) const;

  // One optimizer step for each id that is admitted; a new one gets its
  // initial row first. The row's time becomes event_time, unless it was later.
  // InvalidArgument before the first row changes, or ResourceExhausted when
  // memory ends, after which a part of the batch is applied.
  absl::Status Apply(const ApplyRequest& request);

  // What an update does once, after Check said yes and before its parts, also
  // without ids: time passes for rows, and a stripe is swept a little.
  RunningUpdate BeginParts(const ApplyRequest& request);
  // Does what Apply does for one part of the ids: `part.index` of
  // 0 .. part.count - 1, part.count in [1, kNumStripes]. All parts together, in
  // any order or at once, and EndUpdate leave exactly what Apply leaves: equal
  // ids are of one part.
  absl::Status ApplyPart(const ApplyRequest& request, RunningUpdate update,
                         StripePart part);

  // Begins a change in parts that is not an Apply.
  RunningUpdate BeginUpdate() { return cap_.BeginUpdate(); }
  // Ends a change after all of its parts, whether they went well or not. Until
  // then the table may hold its new rows above the cap; now as many rows go as
  // are too many, those that this and later changes touched only when no other
  // is left. No row goes for the cap at another time, but by Sweep.
  void EndUpdate(RunningUpdate update) { cap_.EndUpdate(update); }

  // Sets the weights of `ids` [n] to `rows` [n, dim], keeps the slots and
  // moves the time to `event_time`; a new row gets initial slots. No admission.
  absl::Status Assign(const int64_t* ids, const float* rows, int64_t n,
                      int64_t event_time);
  absl::Status AssignPart(const int64_t* ids, const float* rows, int64_t n,
                          int64_t event_time, RunningUpdate update,
                          StripePart part);

  // Removes rows; returns how many existed.
  int64_t Remove(const int64_t* ids, int64_t n);

  // Removes every row and counter that is there when the call starts and gives
  // the memory back. While changes are tracked, each row is logged as a
  // removal.
  void Clear();

  // Evicts on demand what updates evict a little at a time: rows whose time ran
  // out at `event_time` (or at the latest time that the table has seen, if that
  // is later) and rows above the cap, if no update runs, which does that when
  // it ends; then gives back all memory that can be. Returns how many rows
  // went.
  int64_t Sweep(int64_t event_time);

  // What lookups of annealed precisions, expiry and windows go by.
  Clock clock() const;
  // Sets the clock, back too, as a restore does. InvalidArgument when a number
  // is out of its range.
  absl::Status SetClock(const Clock& clock);

  // Rows now.
  int64_t size() const { return stripes_.num_rows(); }
  // Resident bytes of rows, index, counters, sketch and logs, counted in
  // touched pages, with the pages of the pool that hold nothing
  // (stats().idle_bytes), bytes of pretrained rows, and of the table itself.
  int64_t memory_bytes() const;
  TableStats stats() const;

  // Appends the next rows of an iteration: ids [m], rows [m, row_width] and
  // stamps [m] (StampOf), m <= max_rows (>= 1) but for ties of a hash. Starts
  // at cursor 0 and returns the next cursor, or -1 at the end. A row that
  // exists throughout is returned exactly once, whatever happens to others
  // meanwhile; one removed and inserted again may come twice or never. An
  // output may be null. A call walks a stripe at least once: max_rows of a
  // hundredth of the table and more cost little.
  int64_t ExportChunk(int64_t cursor, int64_t max_rows,
                      std::vector<int64_t>* ids, std::vector<float>* rows,
                      std::vector<int64_t>* stamps) const {
    return exporter_.ExportChunk(cursor, max_rows, ids, rows, stamps);
  }

  // Of whole rows [n, row_width] what a lookup returns of them now, [n, dim].
  void ValuesOf(const float* rows, int64_t n, float* values) const;

  // Every row whose checkpoint group (partition.h) lies in
  // [first_group, last_group), ordered by group and then by id.
  // `group_counts` gets the rows of each group, [last_group - first_group].
  // The outputs are replaced. A row that exists throughout is in it once.
  // Each call walks the whole table: ask for many groups at a time.
  void ExportGroups(int first_group, int last_group,
                    std::vector<int64_t>* group_counts,
                    std::vector<int64_t>* ids, std::vector<int64_t>* stamps,
                    std::vector<float>* rows) const {
    exporter_.ExportGroups(first_group, last_group, group_counts, ids, stamps,
                           rows);
  }

  // Writes whole rows [n, row_width] with their slots and stamps, over what
  // may be there. Rows whose time is 0, as those of a table without times, get
  // the latest time that the table has seen: set the clock first. For a cap
  // rows are as old as their stamps say: the import spares none of them.
  absl::Status Import(const int64_t* ids, const int64_t* stamps,
                      const float* rows, int64_t n);
  // Between BeginUpdate and EndUpdate.
  absl::Status ImportPart(const int64_t* ids, const int64_t* stamps,
                          const float* rows, int64_t n, StripePart part);

  // What admission remembers of the ids of groups [first_group, last_group),
  // one vector a group, empty where it is nothing. docs/formats.md
  // specifies the numbers.
  std::vector<std::vector<int64_t>> ExportFilter(int first_group,
                                                 int last_group) const {
    return filter_.Export(first_group, last_group);
  }
  // Puts saved numbers of a group together with what is there; of the ids for
  // which `is_owned` holds if they are named one by one. InvalidArgument, and
  // no change, when they are not of this table's kind of admission.
  absl::Status ImportFilter(int group, const std::vector<int64_t>& saved,
                            const std::function<bool(int64_t)>& is_owned);

  // Deltas. TableSet numbers the cuts; `cut` is 1 .. kMaxCut and larger than
  // any that this table was given before. A table that does not track changes
  // logs nothing.

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
  // the values of those that exist, in order.
  void ReadDelta(const std::vector<int64_t>& ids, bool* exists,
                 std::vector<float>* rows) const;

 private:
  // What an update does with an id that it found a row for, or none.
  enum class Decision { kUse, kInsert, kSkip };

  explicit Table(const TableConfig& config);
  // Makes memory for the initial capacity ready.
  absl::Status Reserve();

  // What Apply, Assign and Import share, for the ids of `part`. Rows get the
  // `number` of the update, where they have one. For a run of ids:
  // prepare(run) without the lock; then under it fetch(position) for each, as
  // in StripeSet::ForEachRow, decide(stripe, run, k, row) what to do with the
  // k-th id, initialize(run, k, row) for new ones, and update(run, rows, picks,
  // count): rows[i] is that of the id picks[i]. Rows whose time ran out
  // are gone before decide.
  template <typename Prepare, typename Fetch, typename Decide,
            typename Initialize, typename Update>
  absl::Status ChangeRows(const int64_t* ids, int64_t n, StripePart part,
                          int64_t number, const Prepare& prepare,
                          const Fetch& fetch, const Decide& decide,
                          const Initialize& initialize, const Update& update);

  // Move the clock on.
  void SeeTime(uint32_t time);
  void SeeStep(int64_t global_step);
  // Removes what ran out among the next `num_handles` rows and counters.
  void SweepStripe(Stripe* stripe, int num_handles);
  // Sweeps a little of the stripe whose turn it is, of a table whose rows or
  // counters run out: stripes that updates have no ids of would else keep them.
  void SweepNextStripe();
  // What a run does besides its own work, under the lock of its stripe.
  void Maintain(Stripe* stripe, int num_handles);
  // Brings the slabs of rows together, so that pages become free.
  void GatherSlabs();
  absl::Status CheckBatch(const char* method, int64_t n, bool has_null) const;
  // The time to stamp a row with that is updated at `time` on the terms of a
  // packed count.
  uint32_t StampedTime(uint32_t time, int64_t packed_count) const;
  absl::Status CheckTime(const char* what, int64_t time) const;
  absl::Status OutOfMemory() const;

  const TableConfig config_;
  RowLayout layout_;
  const uint64_t table_key_;
  StripeSet stripes_;
  AdmissionFilter filter_;
  CapEnforcer cap_;
  const RowExporter exporter_;
  // The latest event time of an update, and its number.
  std::atomic<uint32_t> clock_{0};
  std::atomic<int64_t> last_step_{0};
  std::atomic<int64_t> num_admitted_{0};
  std::atomic<int64_t> num_written_{0};
  std::atomic<int64_t> num_removed_{0};
  std::atomic<int64_t> num_rejected_{0};
  std::atomic<int64_t> num_bad_gradients_{0};
  // The stripe that the next update sweeps.
  std::atomic<uint32_t> next_swept_{0};
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_H_
