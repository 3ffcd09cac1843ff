// table_set.h
//
// The tables of one model on one server, and the counters of deltas: the object
// behind the one TensorFlow resource.
//
// Cuts. `cut()` is the last cut taken. A change that happens after cut c and
// before cut c + 1 belongs to the delta (c, c + 1]. TakeDelta() advances the
// counter and takes each stripe's log under the stripe's lock, so that an
// update is in exactly one log. Returned ids stay pending until they are
// acknowledged, so a lost reply loses nothing. A pending id keeps only its last
// cut, so pending memory is bounded by the distinct ids that changed.
//
// The log and the pending ids of all tables together have a limit. Beyond it
// they are dropped (LimitLogs), so a consumer that is gone costs no more: one
// that comes back asks for a cut that is forgotten, and resyncs.
//
// Restores. From BeginRestore() until every table that it names has been
// restored (EndRestore), the set has generation 0: deltas can't be taken, and
// who enters gate() before a lookup, an update or an export is refused. Then
// the set gets one new generation. A restore that fails half-way leaves the set
// refused: restore again, or AbandonRestore().
//
// Thread safety. Every method may be called from any number of threads.
// TakeDelta, StartDeltas, StopDeltas, BeginSnapshot, Renew, the restores,
// CreateTable and DropTable exclude one another; Find and operations on tables
// run concurrently with all of them.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/table/restore_gate.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set_snapshot.h"

namespace monolith_tf {

// The changed rows of one table. ids and exists have one entry per id, sorted
// by id and distinct; rows holds the weights of those that exist, in order.
struct TableDelta {
  std::string table;
  int64_t dim = 0;
  std::vector<int64_t> ids;
  // 1: a row follows; 0: the id was removed.
  std::vector<uint8_t> exists;
  std::vector<float> rows;
};

// The present state of the ids of one shard that changed in
// (from_cut, to_cut]: one entry per table, ordered by name.
struct ShardDelta {
  int64_t generation = 0;
  int64_t from_cut = 0;
  int64_t to_cut = 0;
  std::vector<TableDelta> tables;
};

class TableSet {
 public:
  // `shard` is 0 .. num_shards - 1, `generation` is random and positive. The
  // cut starts at `first_cut`, 0 .. kMaxCut - 1.
  TableSet(std::string name, int shard, int num_shards, int64_t generation,
           int64_t first_cut = 0);

  TableSet(const TableSet&) = delete;
  TableSet& operator=(const TableSet&) = delete;

  const std::string& name() const { return name_; }
  int shard() const { return shard_; }
  int num_shards() const { return num_shards_; }
  // 0 while the tables are being restored.
  int64_t generation() const;
  // The last cut taken.
  int64_t cut() const;

  // OK if a table of this name with an equal config exists already;
  // InvalidArgument that prints both configs if it has another;
  // FailedPrecondition for one that does not track changes once deltas started.
  absl::Status CreateTable(const TableConfig& config);
  // Returns the table, which lives as long as the pointer, also if it is
  // dropped meanwhile. NotFound that lists the present tables.
  absl::StatusOr<std::shared_ptr<Table>> Find(absl::string_view table) const;
  // NotFound if there is no such table. The rows are not logged as removals:
  // renew the generation if deltas were started.
  absl::Status DropTable(absl::string_view table);
  // Sorted by name.
  std::vector<std::string> TableNames() const;
  // The default limit of the logged and pending ids: 33 M logged, or 16 M
  // pending ones.
  static constexpr int64_t kMaxLogBytes = int64_t{256} << 20;

  // Resident bytes of all tables and of the pending ids.
  int64_t memory_bytes() const;

  // Starts to log changes and returns the cut that deltas start at: read it,
  // then the rows of an export, then take deltas from it. A repeated call sets
  // the limit of the log, `max_log_bytes`, and returns the present cut.
  // FailedPrecondition if a table does not track changes; Aborted while the
  // tables are being restored.
  absl::StatusOr<int64_t> StartDeltas(int64_t max_log_bytes = kMaxLogBytes);
  // Stops logging and drops all logged and pending ids.
  void StopDeltas();
  // Drops all logged and pending ids, and counts that, if their memory is above
  // the limit. Call it after updates; not while ids are taken, which may be
  // long. O(tables).
  void LimitLogs();
  // Advances the cut and returns every id that changed in
  // (acked_cut, new cut], with its present state. Forgets the ids up to
  // acked_cut.
  // Aborted while the tables are being restored; FailedPrecondition before
  // StartDeltas(); InvalidArgument for a negative cut; OutOfRange for one whose
  // changes are forgotten, and for one that was not taken yet, as after a
  // restart of the shard. ResourceExhausted if kMaxCut is reached.
  absl::StatusOr<ShardDelta> TakeDelta(int64_t acked_cut);

  // Takes the moment of a snapshot, of all tables, and starts to log the ids
  // that change for the next one. With parent_cut >= 0, the to_cut of an
  // earlier snapshot that is durable, the snapshot holds what changed since
  // that, and the ids up to that cut are forgotten; with -1 it holds all rows.
  // A table that does not track changes is always whole. The moment is one for
  // all tables if no update is running.
  // OutOfRange if the changes after parent_cut are not known any more: take a
  // full snapshot; FailedPrecondition while an earlier one exists; Aborted
  // while the tables are being restored, which also breaks one being written;
  // ResourceExhausted if kMaxCut is reached.
  absl::StatusOr<std::shared_ptr<TableSetSnapshot>> BeginSnapshot(
      int64_t parent_cut);
  // Sets the new generation after a restore and drops all logged and pending
  // ids. The cut keeps counting, so that no stamp of the old generation is
  // mistaken for one of the new.
  // Aborted while the tables are being restored.
  absl::Status Renew(int64_t generation);

  // Begins the restore of `tables`, or adds them to the one that runs. Waits
  // for the lookups, updates and exports that have entered the gate.
  void BeginRestore(const std::vector<std::string>& tables);
  // Ends the restore of `tables`. When all tables are restored, the set gets
  // the new generation, as by Renew, and may be used. Returns the names of the
  // tables that are still to be restored. FailedPrecondition if no restore is
  // running.
  absl::StatusOr<std::vector<std::string>> EndRestore(
      const std::vector<std::string>& tables, int64_t generation);
  // Ends a restore that can't be finished: removes every row of every table.
  // Sets the new generation in any case.
  void AbandonRestore(int64_t generation);
  // Waits for the uses that have begun, of a set that nobody can find any more.
  // Aborted while the tables are being restored.
  absl::Status WaitForUses();
  // True if both sets have the same tables, with equal configs.
  bool HasTablesOf(const TableSet& other) const;
  // Aborted, "... is being restored". `server` names the server in it.
  absl::Status BeingRestored(absl::string_view server) const;
  // Closed while the tables are being restored.
  RestoreGate& gate() { return gate_; }

 private:
  struct Entry {
    std::shared_ptr<Table> table;
    // (id, its last cut) of the returned ids, sorted by id.
    std::vector<std::pair<int64_t, int64_t>> pending;
    // The same of the ids that the last durable snapshot lacks.
    std::vector<std::pair<int64_t, int64_t>> unsaved;
  };

  // FailedPrecondition for a table without deltas.
  absl::Status CheckTracks(const TableConfig& config) const;
  void DropLogs();
  // OK unless a parent is given whose later changes are not known.
  absl::Status CheckParent(int64_t parent_cut) const;
  absl::Status NoCutLeft() const;
  // The configs of all tables, ordered by name.
  std::vector<TableConfig> Configs() const;
  int64_t LogBytes() const;
  void CountPendingBytes();
  // The rest of a restore whose tables are all there.
  void FinishRestore(int64_t generation);
  void SetGeneration(int64_t generation);

  const std::string name_;
  const int shard_;
  const int num_shards_;

  // Taken before delta_mutex_ to create a table, which may take long.
  std::mutex create_mutex_;
  // Taken before tables_mutex_ by everything that changes the set or takes
  // deltas; guards pending, tracking_, oldest_cut_ and unrestored_.
  mutable std::mutex delta_mutex_;
  std::atomic<bool> tracking_{false};
  std::atomic<int64_t> max_log_bytes_{kMaxLogBytes};
  std::atomic<int64_t> pending_bytes_{0};
  // Changes up to this cut are forgotten.
  int64_t oldest_cut_ = 0;
  // The same for snapshots; `snapshot_` is the one that is being written.
  std::atomic<bool> tracks_unsaved_{false};
  int64_t oldest_unsaved_cut_ = 0;
  std::weak_ptr<TableSetSnapshot> snapshot_;
  // Tables whose restore has begun and not ended.
  std::set<std::string> unrestored_;
  RestoreGate gate_;

  // Guards the map and the two numbers; held for moments only.
  mutable std::shared_mutex tables_mutex_;
  std::map<std::string, Entry, std::less<>> tables_;
  int64_t generation_;
  int64_t cut_ = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_H_
