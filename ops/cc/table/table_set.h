// table_set.h
//
// The tables of one model on one server, with the counters that make deltas:
// the one object behind the one TensorFlow resource.
//
// Cuts. `cut()` is the last cut taken. A change that happens after cut c and
// before cut c + 1 belongs to the delta (c, c + 1]. TakeDelta() advances the
// counter and takes each stripe's log under the stripe's lock, so that an
// update is in exactly one log. What was handed out stays pending until it is
// acknowledged: a lost reply loses nothing. For each pending id only its last
// cut is kept, so pending memory is bounded by the distinct ids that changed.
//
// Concurrency. Every method may be called from any number of threads at once.
// TakeDelta, StartDeltas, StopDeltas, Renew, CreateTable and DropTable exclude
// one another; Find and work on the tables go on beside all of them.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_H_
#define MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {

// The changed rows of one table. ids and exists have one entry an id, sorted
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
// (from_cut, to_cut]: one entry a table, ordered by name.
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
  int64_t generation() const;
  // The last cut taken.
  int64_t cut() const;

  // OK when a table of this name and an equal config is there already;
  // InvalidArgument that prints both configs when it has another;
  // FailedPrecondition for one that does not track changes once deltas started.
  absl::Status CreateTable(const TableConfig& config);
  // NotFound that lists the tables that are there. The table lives as long as
  // the pointer, also when it is dropped meanwhile.
  absl::StatusOr<std::shared_ptr<Table>> Find(absl::string_view table) const;
  // NotFound when there is none. The rows are not logged as removals: renew
  // the generation when deltas are on.
  absl::Status DropTable(absl::string_view table);
  // Ordered.
  std::vector<std::string> TableNames() const;
  // Resident bytes of all tables and of the pending ids.
  int64_t memory_bytes() const;

  // Logs changes from now on and returns the cut that deltas start at: read
  // it, then read the rows of an export, then take deltas from it. Calling it
  // again changes nothing and returns the present cut. FailedPrecondition when
  // a table does not track changes.
  absl::StatusOr<int64_t> StartDeltas();
  // Stops logging and drops what was logged and what is pending.
  void StopDeltas();
  // Advances the cut and returns every id that changed in
  // (acked_cut, new cut], with its present state. What was handed out up to
  // acked_cut is forgotten.
  // FailedPrecondition before StartDeltas(); InvalidArgument for a negative
  // cut; OutOfRange for one whose changes are forgotten, and for one that was
  // not taken yet: a trainer that starts again has cuts of its former life.
  // ResourceExhausted when kMaxCut is reached.
  absl::StatusOr<ShardDelta> TakeDelta(int64_t acked_cut);
  // After a restore: takes the new generation and drops all that is logged
  // and pending. The cut goes on counting up, so that no row's stamp of the
  // old generation is mistaken for one of the new.
  void Renew(int64_t generation);

 private:
  struct Entry {
    std::shared_ptr<Table> table;
    // (id, its last cut) of what was handed out, sorted by id.
    std::vector<std::pair<int64_t, int64_t>> pending;
  };

  // FailedPrecondition for a table without deltas.
  absl::Status CheckTracks(const TableConfig& config) const;
  void DropLogs();

  const std::string name_;
  const int shard_;
  const int num_shards_;

  // Taken before delta_mutex_ by who makes a table: that may take long.
  std::mutex create_mutex_;
  // Taken before tables_mutex_ by everything that changes the set or takes
  // deltas; guards pending, tracking_ and oldest_cut_.
  mutable std::mutex delta_mutex_;
  bool tracking_ = false;
  // Changes up to this cut are forgotten.
  int64_t oldest_cut_ = 0;

  // Guards the map and the two numbers; held for moments only.
  mutable std::shared_mutex tables_mutex_;
  std::map<std::string, Entry, std::less<>> tables_;
  int64_t generation_;
  int64_t cut_ = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TABLE_SET_H_
