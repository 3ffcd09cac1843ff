// table.h
//
// A table maps int64 ids to rows of weights and optimizer slots. All 2^64 ids
// are valid, and two ids never share a row.
//
// Example
//
//   TableConfig config = TableConfig::OfOneSegment(
//       "movie", /*dim=*/2, {"sgd", {}, {}}, {"zeros", {}},
//       /*seed=*/7);
//   absl::StatusOr<std::unique_ptr<Table>> table = Table::Create(config);
//   if (!table.ok()) return table.status();
//
//   const int64_t ids[] = {3, -1};
//   const int64_t counts[] = {1, 1};
//   const float gradients[] = {1, 2, 3, 4};
//   const float learning_rate = 0.5f;
//   ApplyRequest request;
//   request.ids = ids;
//   request.counts = counts;
//   request.gradients = gradients;
//   request.n = 2;
//   request.global_step = 1;
//   request.learning_rates = &learning_rate;
//   absl::Status status = (*table)->Apply(request);  // Inserts both rows.
//
//   float rows[4];
//   bool exists[2];
//   (*table)->Lookup(ids, 2, rows, exists);  // {-0.5, -1, -1.5, -2}
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
// States of an id
//
//   unseen --(occurs in an update)--> counted --(threshold)--> admitted
//     ^          without admission rules: admitted at once        |
//     |                                                           |
//     +------------- removed, expired, evicted for the cap -------+
//
// Only an update (Apply) counts occurrences; a lookup changes nothing. The
// update in which an id reaches the admission threshold inserts its row and
// steps it. An id without a row reads its initial row, or zeros if
// admission.reads_zeros. An id whose row was removed starts over: initial
// weights, initial slots, counts of zero (a sketch without a window remembers
// its counts). For updates, a row is gone as soon as its time to live is over;
// lookups see it until the sweep removes it.
//
// A gradient that is not finite, or larger than 2^48, would spoil a row for
// good. An update leaves such an id unchanged, does not count it, and adds it
// to stats().num_bad_gradients. It applies the rest of the batch. Where a
// precision scales gradients up, the bound is lower by that factor
// (Precision::Steepness).
//
// Thread safety. Every method may be called from any number of threads. A
// stripe's lock is held for the copy or the update of one run of the batch (at
// most StripeSet::kMaxRunRows rows and about kMaxRunBytes bytes), so:
//   * the update of one row is atomic: no reader sees half of it;
//   * a batch is not atomic: a reader may see some of its rows new, some old;
//   * growth, removal, sweeps, export and cuts block nobody for longer than
//     that. Under one hold, a run splits at most kBucketsPerInsert buckets of
//     the index per insert, sweeps at most kSweptPerId rows per id, and moves
//     at most kMovesPerRun rows of the arena. In addition, an update sweeps
//     kSweptPerUpdate rows of one stripe.
// Rows move only to close the gaps that removed rows left. Their memory then
// returns to the system, one 2 MiB page at a time. To free whole pages, a run
// may also move one slab of an arena, of up to 128 KiB, and one chunk of the
// index.
//
// Cost. Lookup and update are O(1) per id. Iteration is O(rows ever alive at
// once). Memory per row, above its floats: 16 bytes of header (8 if changes are
// not tracked), 8 more with a cap, and 7 to 11 bytes of index. Per counter: 16
// bytes, and the index.
//
// Where to read on: stripe_set.h (walks over a batch), admission_filter.h,
// cap_enforcer.h, row_exporter.h, row_layout.h.

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
#include "ops/cc/table/row_snapshot.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
#include "ops/cc/table/striped_batch.h"
#include "ops/cc/table/table_stats.h"

namespace monolith_tf {

// One table's part of an update. The pointers need to live for the call only.
struct ApplyRequest {
  // [n]. Should be distinct; a repeated id is stepped again, in order.
  const int64_t* ids = nullptr;
  // [n] packed counts (packed_count.h): the occurrences of each id in the
  // batch, 1 .. kMaxOccurrences, and its overrides of the table's admission and
  // time to live: a min_count, above 1 only if admission counts, or a
  // probability, and a ttl of at most the table's.
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
  // Whether FiniteAndBounded (optimizer.h) is known to hold for all gradients;
  // otherwise Apply checks each.
  bool gradients_are_good = false;
};

// The progress of a table: the number of its latest update, 0 before the first,
// and the latest event time that it has seen, in seconds since the epoch.
struct Clock {
  int64_t global_step = 0;
  int64_t event_time = 0;
};

class Table {
 public:
  static constexpr int kNumStripes = StripeSet::kNumStripes;
  // Rows and counters that a run of an update sweeps per id. More than one:
  // otherwise the sweep of an update of new ids would see only the rows that
  // the update inserted, and never reach the others.
  static constexpr int kSweptPerId = 2;
  // Rows and counters that an update sweeps of one more stripe, in turn.
  static constexpr int kSweptPerUpdate = 64;

  // Returns an empty table. InvalidArgument as ValidateConfig;
  // ResourceExhausted if there is no memory for its initial capacity.
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

  // From now on, ids of `rows` start from these weights of a segment, also
  // after an eviction. Existing rows stay unchanged. InvalidArgument if there
  // is no such segment, or if it has another dim.
  absl::Status SetPretrained(int segment,
                             std::unique_ptr<const PretrainedRows> rows);

  // Copies the values of `ids` [n] to `rows` [n, dim], in order; inserts no
  // rows. `exists` [n], which may be null, tells which ids have a row.
  // `is_large`: whether the whole output has at least kMinStreamedBytes.
  void Lookup(const int64_t* ids, int64_t n, float* rows, bool* exists,
              bool is_large = false) const;

  // Returns the InvalidArgument that Apply would return; changes nothing. For
  // callers that check several tables before they update the first.
  absl::Status Check(const ApplyRequest& request) const;

  // Makes one optimizer step per admitted id; a new id gets its initial row
  // first. Sets the row's time to event_time, or earlier by the difference of
  // the ttls if its count carries a shorter one, unless it is later already.
  // InvalidArgument before the first row changes; ResourceExhausted if memory
  // ends, after a part of the batch was applied.
  absl::Status Apply(const ApplyRequest& request);

  // Begins an update in parts, after Check. Moves the clock and sweeps a part
  // of one stripe, also without ids.
  RunningUpdate BeginParts(const ApplyRequest& request);
  // Applies one part of an update: `part.index` in [0, part.count), part.count
  // in [1, kNumStripes]. All parts, in any order or concurrently, and EndUpdate
  // have exactly the effect of Apply, because equal ids belong to one part.
  absl::Status ApplyPart(const ApplyRequest& request, RunningUpdate update,
                         StripePart part);

  // Begins a change in parts that is not an Apply.
  RunningUpdate BeginUpdate() { return cap_.BeginUpdate(); }
  // Ends a change after all of its parts, whether they succeeded or not. Until
  // then, the table may hold new rows above the cap. Evicts what is above it;
  // rows that this or a later change touched go last. Only EndUpdate and Sweep
  // evict for the cap.
  void EndUpdate(RunningUpdate update) { cap_.EndUpdate(update); }

  // Sets the weights of `ids` [n] to `rows` [n, dim], keeps their slots and
  // moves their time to `event_time`. Inserts missing rows with initial slots,
  // without admission.
  absl::Status Assign(const int64_t* ids, const float* rows, int64_t n,
                      int64_t event_time);
  absl::Status AssignPart(const int64_t* ids, const float* rows, int64_t n,
                          int64_t event_time, RunningUpdate update,
                          StripePart part);

  // Removes rows. Returns how many existed.
  int64_t Remove(const int64_t* ids, int64_t n);

  // Removes every row and counter that exists when the call starts, and returns
  // the memory to the system. While changes are tracked, each row is logged as
  // a removal.
  void Clear();

  // Evicts on demand what updates evict gradually: rows whose time to live is
  // over at `event_time` (or at the latest time that the table has seen, if
  // that is later), and rows above the cap unless an update is running, which
  // evicts them when it ends. Then returns all free memory to the system.
  // Returns how many rows were evicted.
  int64_t Sweep(int64_t event_time);

  // The clock of lookups of annealed precisions, of expiry and of windows.
  Clock clock() const;
  // Sets the clock, also backward. A global_step of -1 keeps the present one.
  // InvalidArgument if a number is out of range, or the time is in the future
  // (see AcceptTime).
  absl::Status SetClock(const Clock& clock);
  // Sets the clock that a checkpoint has. A time in the future is not believed,
  // but counted: then the rows that are imported set the time. Returns whether
  // the time was believed.
  absl::StatusOr<bool> RestoreClock(const Clock& clock);

  // The time that an update with this event time counts at: the same, unless it
  // is more than eviction.max_future_seconds ahead of both the server's clock
  // and the latest time that the table has seen. Then that latest time, or the
  // server's before the first one; and counted. Returns a time that is out of
  // range unchanged. Call it before BeginParts and
  // AssignPart; Apply, Assign and Sweep do.
  int64_t AcceptTime(int64_t event_time);

  // The number of rows.
  int64_t size() const { return stripes_.num_rows(); }
  // Resident bytes of rows, index, counters, sketch and logs, counted in
  // touched pages; of unused pages of the pool (stats().idle_bytes); of
  // pretrained rows; and of the table itself.
  int64_t memory_bytes() const;
  TableStats stats() const;

  // Appends the next rows of an iteration, which starts at cursor 0; returns
  // the next cursor, or -1 at the end. See row_exporter.h.
  int64_t ExportChunk(int64_t cursor, int64_t max_rows,
                      std::vector<int64_t>* ids, std::vector<float>* rows,
                      std::vector<int64_t>* stamps) const {
    return exporter_.ExportChunk(cursor, max_rows, ids, rows, stamps);
  }

  // Converts whole rows [n, row_width] to the values [n, dim] that a lookup
  // would return for them now.
  void ValuesOf(const float* rows, int64_t n, float* values) const;

  // Replaces the outputs by all rows of the checkpoint groups (partition.h)
  // [first_group, last_group), ordered by group and then by id. Each call walks
  // the whole table: ask for many groups at a time. See row_exporter.h.
  void ExportGroups(int first_group, int last_group,
                    std::vector<int64_t>* group_counts,
                    std::vector<int64_t>* ids, std::vector<int64_t>* stamps,
                    std::vector<float>* rows) const {
    exporter_.ExportGroups(first_group, last_group, group_counts, ids, stamps,
                           rows);
  }

  // Writes whole rows [n, row_width] with their slots and stamps (row.h), and
  // overwrites existing rows. A row with time 0, as of a table without times,
  // gets the latest time that the table has seen: set the clock first. For the
  // cap, rows are as old as their stamps say: none is spared.
  absl::Status Import(const int64_t* ids, const int64_t* stamps,
                      const float* rows, int64_t n);
  // Between BeginUpdate and EndUpdate.
  absl::Status ImportPart(const int64_t* ids, const int64_t* stamps,
                          const float* rows, int64_t n, StripePart part);

  // Exports what admission remembers of the ids of groups [first_group,
  // last_group): one vector per group, empty where there is nothing.
  // docs/formats.md specifies the numbers.
  std::vector<std::vector<int64_t>> ExportFilter(int first_group,
                                                 int last_group) const {
    return filter_.Export(first_group, last_group);
  }
  // Merges saved numbers of a group with the present counts. Takes counters of
  // ids for which is_owned(id) holds. InvalidArgument, and no change, if the
  // table has another kind of admission.
  absl::Status ImportFilter(int group, const std::vector<int64_t>& saved,
                            const std::function<bool(int64_t)>& is_owned);

  // Returns a snapshot of the rows that has not started. The table and
  // `total_bytes` outlive it. One at a time.
  std::unique_ptr<RowSnapshot> NewSnapshot(std::atomic<int64_t>* total_bytes) {
    return std::make_unique<RowSnapshot>(&layout_, &stripes_, total_bytes);
  }

  // Deltas. TableSet numbers the cuts: `cut` is in [1, kMaxCut] and larger than
  // any earlier one of this table. A table that does not track changes logs
  // nothing.

  // Starts to log the ids of changed rows, under `cut`. Does nothing if changes
  // are tracked already.
  void StartTracking(int64_t cut);
  // Stops logging and drops the logs.
  void StopTracking();
  // Appends the ids that changed since the last call to `ids` (null drops
  // them); later changes are logged under `new_cut`. Takes a stripe's log and
  // sets its cut under its lock, so an update is either in this log or in the
  // next. Only while changes are tracked.
  void SwapTouched(int64_t new_cut, std::vector<int64_t>* ids);
  // The memory of the logs. Takes no lock.
  int64_t log_bytes() const { return stripes_.log_bytes(); }
  // Counts that the logs were dropped, because they reached their limit.
  void CountDroppedLog() {
    num_dropped_logs_.fetch_add(1, std::memory_order_relaxed);
  }
  // Reads the present state of `ids`: fills exists [ids.size()] and appends the
  // values of those that exist to `rows`, in order.
  void ReadDelta(const std::vector<int64_t>& ids, bool* exists,
                 std::vector<float>* rows) const;

 private:
  // The decision of an update about an id, with or without a row.
  enum class Decision { kUse, kInsert, kSkip };

  explicit Table(const TableConfig& config);
  // Allocates memory for the initial capacity.
  absl::Status Reserve();

  // The common body of Apply, Assign and Import, for the ids of `part`. Rows
  // get the `number` of the update, if they have one. For each run of ids,
  // calls prepare(run) without the lock. Then, under the lock: fetch(position)
  // for each id, as StripeSet::ForEachRow; decide(stripe, run, k, row) for the
  // k-th id; initialize(run, k, row) for new rows; and update(run, rows, picks,
  // count), where rows[i] is that of the id picks[i]. Expired rows are removed
  // before decide.
  template <typename Prepare, typename Fetch, typename Decide,
            typename Initialize, typename Update>
  absl::Status ChangeRows(const int64_t* ids, int64_t n, StripePart part,
                          int64_t number, const Prepare& prepare,
                          const Fetch& fetch, const Decide& decide,
                          const Initialize& initialize, const Update& update);

  // The clock of this server, in seconds since the epoch.
  static int64_t ServerTime();
  // The latest time that AcceptTime believes.
  int64_t LatestAccepted() const;
  // Advance the clock.
  void SeeTime(uint32_t time);
  void SeeStep(int64_t global_step);
  // Removes what expired among the next `num_handles` rows and counters.
  void SweepStripe(Stripe* stripe, int num_handles);
  // Sweeps a part of the next stripe, in a table whose rows or counters expire:
  // otherwise stripes without updates would keep them.
  void SweepNextStripe();
  // Sweeps and compacts after a run, under the lock of its stripe.
  void Maintain(Stripe* stripe, int num_handles);
  // Moves slabs together, so that pages become free.
  void GatherSlabs();
  absl::Status CheckBatch(const char* method, int64_t n, bool has_null) const;
  // The time of a row that is updated at `time`: earlier if `packed_count` has
  // a shorter ttl than the table.
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
  // RestoreClock did not believe the time.
  std::atomic<bool> lost_clock_{false};
  std::atomic<int64_t> last_step_{0};
  std::atomic<int64_t> num_admitted_{0};
  std::atomic<int64_t> num_written_{0};
  std::atomic<int64_t> num_removed_{0};
  std::atomic<int64_t> num_rejected_{0};
  std::atomic<int64_t> num_bad_gradients_{0};
  std::atomic<int64_t> num_future_times_{0};
  std::atomic<int64_t> num_dropped_logs_{0};
  // The stripe that the next update sweeps.
  std::atomic<uint32_t> next_swept_{0};
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_H_
