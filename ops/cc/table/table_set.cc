#include "ops/cc/table/table_set.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "ops/cc/hash/partition.h"

namespace monolith_tf {
namespace {

using Pending = std::vector<std::pair<int64_t, int64_t>>;

// `pending` without what was acknowledged, and with `touched` at `cut`.
// `touched` is sorted and distinct.
Pending Merge(const Pending& pending, const std::vector<int64_t>& touched,
              int64_t cut, int64_t acked_cut) {
  Pending merged;
  merged.reserve(pending.size() + touched.size());
  size_t next = 0;
  for (const int64_t id : touched) {
    for (; next < pending.size() && pending[next].first < id; ++next) {
      if (pending[next].second > acked_cut) merged.push_back(pending[next]);
    }
    if (next < pending.size() && pending[next].first == id) ++next;
    merged.emplace_back(id, cut);
  }
  for (; next < pending.size(); ++next) {
    if (pending[next].second > acked_cut) merged.push_back(pending[next]);
  }
  return merged;
}

void SortDistinct(std::vector<int64_t>* ids) {
  std::sort(ids->begin(), ids->end());
  ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
}

TableDelta ReadDelta(const Table& table, const Pending& pending) {
  TableDelta delta;
  delta.table = table.config().name;
  delta.dim = table.dim();
  delta.ids.reserve(pending.size());
  for (const auto& change : pending) delta.ids.push_back(change.first);
  const std::unique_ptr<bool[]> exists(new bool[pending.size()]);
  table.ReadDelta(delta.ids, exists.get(), &delta.rows);
  delta.exists.assign(exists.get(), exists.get() + pending.size());
  return delta;
}

}  // namespace

TableSet::TableSet(std::string name, int shard, int num_shards,
                   int64_t generation, int64_t first_cut)
    : name_(std::move(name)),
      shard_(shard),
      num_shards_(num_shards),
      oldest_cut_(first_cut),
      generation_(generation),
      cut_(first_cut) {}

int64_t TableSet::generation() const {
  std::shared_lock<std::shared_mutex> lock(tables_mutex_);
  return generation_;
}

int64_t TableSet::cut() const {
  std::shared_lock<std::shared_mutex> lock(tables_mutex_);
  return cut_;
}

absl::Status TableSet::CreateTable(const TableConfig& config) {
  std::lock_guard<std::mutex> create_lock(create_mutex_);
  {
    std::lock_guard<std::mutex> delta_lock(delta_mutex_);
    const auto found = tables_.find(config.name);
    if (found != tables_.end()) {
      const TableConfig& present = found->second.table->config();
      if (present == config) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat(
          "Table set '", name_, "' has a table '", config.name,
          "' of another config. There: ", present.DebugString(), ". Received: ",
          config.DebugString(), ". Give one of the two another name."));
    }
    if (tracking_) {
      absl::Status status = CheckTracks(config);
      if (!status.ok()) return status;
    }
  }
  // Without the lock of deltas: memory that is made ready takes a while.
  absl::StatusOr<std::unique_ptr<Table>> table = Table::Create(config);
  if (!table.ok()) return table.status();
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (tracking_) {
    absl::Status status = CheckTracks(config);
    if (!status.ok()) return status;
  }
  if (tracking_ || tracks_unsaved_) (*table)->StartTracking(cut_ + 1);
  std::unique_lock<std::shared_mutex> lock(tables_mutex_);
  tables_[config.name].table = *std::move(table);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Table>> TableSet::Find(
    absl::string_view table) const {
  {
    std::shared_lock<std::shared_mutex> lock(tables_mutex_);
    const auto found = tables_.find(table);
    if (found != tables_.end()) return found->second.table;
  }
  return absl::NotFoundError(
      absl::StrCat("Table set '", name_, "' has no table '", table,
                   "' on shard ", shard_, " of ", num_shards_, ". Tables: [",
                   absl::StrJoin(TableNames(), ", "), "]. Create it first."));
}

absl::Status TableSet::DropTable(absl::string_view table) {
  // Outlives the locks, in case this is the last pointer.
  std::shared_ptr<Table> dropped;
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  absl::StatusOr<std::shared_ptr<Table>> found = Find(table);
  if (!found.ok()) return found.status();
  dropped = *std::move(found);
  unrestored_.erase(std::string(table));
  std::unique_lock<std::shared_mutex> lock(tables_mutex_);
  tables_.erase(tables_.find(table));
  return absl::OkStatus();
}

std::vector<std::string> TableSet::TableNames() const {
  std::shared_lock<std::shared_mutex> lock(tables_mutex_);
  std::vector<std::string> names;
  for (const auto& entry : tables_) names.push_back(entry.first);
  return names;
}

int64_t TableSet::memory_bytes() const {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  int64_t bytes = sizeof(*this);
  for (const auto& [name, entry] : tables_) {
    bytes += entry.table->memory_bytes() +
             entry.pending.capacity() * sizeof(entry.pending[0]) +
             entry.unsaved.capacity() * sizeof(entry.unsaved[0]);
  }
  return bytes;
}

absl::Status TableSet::CheckTracks(const TableConfig& config) const {
  if (config.tracks_changes) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "Table set '", name_, "': table '", config.name,
      "' does not track changes, so its rows can't flow as deltas. Make it "
      "with tracks_changes = true, or serve it from exports only, without ",
      "deltas."));
}

absl::StatusOr<int64_t> TableSet::StartDeltas(int64_t max_log_bytes) {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (generation_ == 0) return BeingRestored("");
  if (!tracking_) {
    for (const auto& [name, entry] : tables_) {
      absl::Status status = CheckTracks(entry.table->config());
      if (!status.ok()) return status;
    }
    tracking_ = true;
    oldest_cut_ = cut_;
    for (auto& [name, entry] : tables_) entry.table->StartTracking(cut_ + 1);
  }
  max_log_bytes_ = max_log_bytes;
  return cut_;
}

int64_t TableSet::LogBytes() const {
  std::shared_lock<std::shared_mutex> lock(tables_mutex_);
  int64_t bytes = pending_bytes_.load(std::memory_order_relaxed);
  for (const auto& [name, entry] : tables_) bytes += entry.table->log_bytes();
  return bytes;
}

void TableSet::CountPendingBytes() {
  int64_t bytes = 0;
  for (const auto& [name, entry] : tables_) {
    bytes += entry.pending.capacity() * sizeof(entry.pending[0]) +
             entry.unsaved.capacity() * sizeof(entry.unsaved[0]);
  }
  pending_bytes_ = bytes;
}

void TableSet::LimitLogs() {
  const auto is_long = [this] {
    return (tracking_.load(std::memory_order_relaxed) ||
            tracks_unsaved_.load(std::memory_order_relaxed)) &&
           LogBytes() > max_log_bytes_.load(std::memory_order_relaxed);
  };
  if (!is_long()) return;
  const std::unique_lock<std::mutex> delta_lock(delta_mutex_, std::try_to_lock);
  if (!delta_lock.owns_lock() || !is_long()) return;
  DropLogs();
  for (auto& [name, entry] : tables_) entry.table->CountDroppedLog();
}

void TableSet::StopDeltas() {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  tracking_ = false;
  if (tracks_unsaved_) {
    oldest_cut_ = cut_;
    for (auto& [name, entry] : tables_) entry.pending = Pending();
    CountPendingBytes();
    return;
  }
  for (auto& [name, entry] : tables_) entry.table->StopTracking();
  DropLogs();
}

absl::StatusOr<ShardDelta> TableSet::TakeDelta(int64_t acked_cut) {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (generation_ == 0) return BeingRestored("");
  if (!tracking_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Table set '", name_, "': deltas were not started on shard ", shard_,
        ". Start them before the first delta is taken."));
  }
  if (acked_cut < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Table set '", name_, "': acked_cut must not be negative. Received: ",
        acked_cut, " on shard ", shard_));
  }
  if (acked_cut > cut_) {
    return absl::OutOfRangeError(absl::StrCat(
        "Table set '", name_, "': acked_cut must be at most the last cut of ",
        "shard ", shard_, ", ", cut_, ". Received: ", acked_cut,
        ", a cut from before the shard was restarted. Resync from an export."));
  }
  if (acked_cut < oldest_cut_) {
    return absl::OutOfRangeError(absl::StrCat(
        "Table set '", name_, "': shard ", shard_,
        " holds the changes after cut ", oldest_cut_,
        " only. Received: acked_cut ", acked_cut,
        ". Resync from an export. If changes outgrow their log, allow it more ",
        "than max_log_bytes = ", max_log_bytes_.load(), "."));
  }
  if (cut_ + 1 >= kMaxCut) return NoCutLeft();
  const int64_t to_cut = cut_ + 1;
  {
    std::unique_lock<std::shared_mutex> lock(tables_mutex_);
    cut_ = to_cut;
  }
  oldest_cut_ = acked_cut;
  ShardDelta delta;
  delta.generation = generation_;
  delta.from_cut = acked_cut;
  delta.to_cut = to_cut;
  // All logs are taken before the first row is read, so that the cut is one
  // moment and not one per table.
  for (auto& [name, entry] : tables_) {
    std::vector<int64_t> touched;
    entry.table->SwapTouched(to_cut + 1, &touched);
    SortDistinct(&touched);
    entry.pending = Merge(entry.pending, touched, to_cut, acked_cut);
    if (tracks_unsaved_) {
      entry.unsaved = Merge(entry.unsaved, touched, to_cut, /*acked_cut=*/-1);
    }
  }
  CountPendingBytes();
  for (const auto& [name, entry] : tables_) {
    delta.tables.push_back(ReadDelta(*entry.table, entry.pending));
  }
  return delta;
}

absl::Status TableSet::NoCutLeft() const {
  return absl::ResourceExhaustedError(absl::StrCat(
      "Table set '", name_, "': no cut is left after ", cut_,
      ". Restart the server of shard ", shard_, " from a snapshot."));
}

absl::Status TableSet::CheckParent(int64_t parent_cut) const {
  if (parent_cut < 0) return absl::OkStatus();
  if (tracks_unsaved_ && parent_cut >= oldest_unsaved_cut_ &&
      parent_cut <= cut_) {
    return absl::OkStatus();
  }
  return absl::OutOfRangeError(absl::StrCat(
      "Table set '", name_, "': shard ", shard_, " knows the changes after ",
      tracks_unsaved_
          ? absl::StrCat("cut ", oldest_unsaved_cut_, " up to ", cut_)
          : std::string("no cut"),
      ". Received: parent_cut ", parent_cut, ". Take a full snapshot."));
}

absl::StatusOr<std::shared_ptr<TableSetSnapshot>> TableSet::BeginSnapshot(
    int64_t parent_cut) {
  auto snapshot = std::make_shared<TableSetSnapshot>();
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (generation_ == 0) return BeingRestored("");
  if (!snapshot_.expired()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Table set '", name_, "': a snapshot of shard ", shard_,
        " is being written. Write one at a time, or abort it first."));
  }
  const absl::Status status = CheckParent(parent_cut);
  if (!status.ok()) return status;
  if (cut_ + 1 >= kMaxCut) return NoCutLeft();
  const int64_t to_cut = cut_ + 1;
  {
    std::unique_lock<std::shared_mutex> lock(tables_mutex_);
    cut_ = to_cut;
  }
  tracks_unsaved_ = true;
  oldest_unsaved_cut_ = parent_cut < 0 ? to_cut : parent_cut;
  snapshot->shard = shard_;
  snapshot->num_shards = num_shards_;
  snapshot->generation = generation_;
  snapshot->from_cut = parent_cut < 0 ? -1 : parent_cut;
  snapshot->to_cut = to_cut;
  for (auto& [name, entry] : tables_) {
    Table* const table = entry.table.get();
    snapshot->tables.emplace_back();
    TableSnapshot& part = snapshot->tables.back();
    part.table = entry.table;
    part.rows = table->NewSnapshot(&snapshot->copied_bytes);
    std::vector<int64_t> touched;
    part.rows->Start(to_cut + 1, &touched);
    part.clock = table->clock();
    part.num_rows = table->size();
    part.filter = table->ExportFilter(0, kNumGroups);
    SortDistinct(&touched);
    if (tracking_) {
      entry.pending = Merge(entry.pending, touched, to_cut, /*acked_cut=*/-1);
    }
    entry.unsaved = parent_cut < 0
                        ? Pending()
                        : Merge(entry.unsaved, touched, to_cut, parent_cut);
    part.is_full = parent_cut < 0 || !table->config().tracks_changes;
    if (part.is_full) continue;
    part.changed.resize(Table::kNumStripes);
    for (const auto& change : entry.unsaved) {
      part.changed[part.rows->StripeOf(change.first)].push_back(change.first);
    }
  }
  CountPendingBytes();
  snapshot_ = snapshot;
  return snapshot;
}

absl::Status TableSet::Renew(int64_t generation) {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (generation_ == 0) return BeingRestored("");
  DropLogs();
  SetGeneration(generation);
  return absl::OkStatus();
}

void TableSet::BeginRestore(const std::vector<std::string>& tables) {
  // First: who has entered may wait for delta_mutex_.
  gate_.Close();
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  unrestored_.insert(tables.begin(), tables.end());
  if (generation_ == 0) return;
  SetGeneration(0);
  // No consumer will ask for these changes, nor for those of the restore.
  for (auto& [name, entry] : tables_) {
    if (tracking_ || tracks_unsaved_) entry.table->StopTracking();
    entry.pending = Pending();
    entry.unsaved = Pending();
  }
  pending_bytes_ = 0;
  tracks_unsaved_ = false;
  // Its moment is over: rows change without a cut from here on.
  if (const auto snapshot = snapshot_.lock()) snapshot->is_broken = true;
}

absl::StatusOr<std::vector<std::string>> TableSet::EndRestore(
    const std::vector<std::string>& tables, int64_t generation) {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (generation_ != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Table set '", name_, "': a restore must have begun on shard ", shard_,
        " of ", num_shards_, " before it ends. Received: the end of a restore ",
        "of [", absl::StrJoin(tables, ", "), "]. Restore again."));
  }
  for (const std::string& table : tables) unrestored_.erase(table);
  if (unrestored_.empty()) FinishRestore(generation);
  return std::vector<std::string>(unrestored_.begin(), unrestored_.end());
}

void TableSet::AbandonRestore(int64_t generation) {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (generation_ == 0) {
    for (auto& [name, entry] : tables_) entry.table->Clear();
    unrestored_.clear();
    FinishRestore(generation);
    return;
  }
  DropLogs();
  SetGeneration(generation);
}

void TableSet::FinishRestore(int64_t generation) {
  DropLogs();
  for (auto& [name, entry] : tables_) {
    if (tracking_) entry.table->StartTracking(cut_ + 1);
  }
  SetGeneration(generation);
  gate_.Open();
}

void TableSet::SetGeneration(int64_t generation) {
  std::unique_lock<std::shared_mutex> lock(tables_mutex_);
  generation_ = generation;
}

absl::Status TableSet::WaitForUses() {
  std::lock_guard<std::mutex> delta_lock(delta_mutex_);
  if (generation_ == 0) return BeingRestored("");
  gate_.Close();
  gate_.Open();
  return absl::OkStatus();
}

std::vector<TableConfig> TableSet::Configs() const {
  std::shared_lock<std::shared_mutex> lock(tables_mutex_);
  std::vector<TableConfig> configs;
  for (const auto& entry : tables_) {
    configs.push_back(entry.second.table->config());
  }
  return configs;
}

bool TableSet::HasTablesOf(const TableSet& other) const {
  return Configs() == other.Configs();
}

absl::Status TableSet::BeingRestored(absl::string_view server) const {
  return absl::AbortedError(absl::StrCat(
      "Table set '", name_, "' is being restored on shard ", shard_, " of ",
      num_shards_, server.empty() ? "" : ", server ", server,
      ". Expected a call after the end of the restore: try again. If the ",
      "restore failed, restore again, or call abandon_restore() of the table "
      "set to go on with empty tables."));
}

void TableSet::DropLogs() {
  // A new cut: rows that are stamped with the present one are in no log any
  // more, so their next change has to be logged. Beyond kMaxCut no delta can be
  // taken, and rows have no bits for it.
  if (cut_ + 1 < kMaxCut) {
    std::unique_lock<std::shared_mutex> lock(tables_mutex_);
    ++cut_;
  }
  oldest_cut_ = cut_;
  oldest_unsaved_cut_ = cut_;
  for (auto& [name, entry] : tables_) {
    if (tracking_ || tracks_unsaved_) {
      entry.table->SwapTouched(cut_ + 1, nullptr);
    }
    entry.pending = Pending();
    entry.unsaved = Pending();
  }
  pending_bytes_ = 0;
}

}  // namespace monolith_tf
