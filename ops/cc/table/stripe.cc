#include "ops/cc/table/stripe.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/memory/prefetch.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/table_stats.h"

namespace monolith_tf {

void Stripe::PrefetchCandidates(const uint32_t* candidates, int n,
                                size_t bytes) const {
  const char* rows[kMaxCandidates];
  int num_rows = 0;
  for (int k = 0; k < n; ++k) {
    const uint32_t candidate = candidates[k];
    if ((candidate & kCounterBit) == 0) {
      rows[num_rows++] = rows_.At(candidate);
    } else if (candidate != kNoHandle) {
      PrefetchLine(counters_.At(candidate & ~kCounterBit));
    }
  }
  const int num_lines = rows_.MaxLines(bytes);
  for (int line = 0; line < num_lines; ++line) {
    const size_t offset = std::min<size_t>(64 * line, bytes - 1);
    for (int k = 0; k < num_rows; ++k) PrefetchLine(rows[k] + offset);
  }
}

uint32_t Stripe::FindEntry(uint64_t hash, int64_t id) const {
  return index_.Find(
      hash, [this, id](uint32_t candidate) { return IdAt(candidate) == id; });
}

Row* Stripe::Find(uint64_t hash, int64_t id) const {
  const uint32_t handle = FindEntry(hash, id);
  // kNoHandle has the bit too.
  return (handle & kCounterBit) != 0 ? nullptr : RowAt(handle);
}

Row* Stripe::Insert(uint64_t hash, int64_t id) {
  const uint32_t handle = rows_.Allocate();
  if (handle == kNoHandle) return nullptr;
  Row* const row = RowAt(handle);
  row->id = id;
  const uint32_t counter =
      counters_.size() == 0 ? kNoHandle : FindEntry(hash, id);
  if (counter != kNoHandle) {
    index_.Replace(hash, counter, handle);
    counters_.Free(counter & ~kCounterBit);
  } else if (!index_.Insert(hash, handle, RowHash{this})) {
    rows_.Free(handle);
    return nullptr;
  }
  if (layout_->tracks_changes()) {
    row->last_update = 0;
    row->cut = cut_;
    row->frequency = 0;
    if (is_tracking_) Log(id);
  }
  if (layout_->numbers_updates()) layout_->SetUpdate(row, 0);
  if (capture_ != nullptr) capture_->AfterInsert(row);
  return row;
}

void Stripe::RemoveRow(uint64_t hash, uint32_t handle) {
  const Row* const row = RowAt(handle);
  if (capture_ != nullptr) capture_->BeforeChange(row);
  // An id that is in the log already need not come twice.
  if (is_tracking_ && row->cut != cut_) Log(row->id);
  index_.Erase(hash, handle, RowHash{this});
  rows_.Free(handle);
}

bool Stripe::Remove(uint64_t hash, int64_t id) {
  const uint32_t handle = FindEntry(hash, id);
  if ((handle & kCounterBit) != 0) return false;
  RemoveRow(hash, handle);
  return true;
}

Counter* Stripe::CounterOf(uint64_t hash, int64_t id) {
  const uint32_t found = FindEntry(hash, id);
  if (found != kNoHandle) return CounterAt(found & ~kCounterBit);
  const uint32_t handle = counters_.Allocate();
  if (handle == kNoHandle) return nullptr;
  Counter* const counter = CounterAt(handle);
  *counter = {id, {0, 0, 0}};
  if (index_.Insert(hash, handle | kCounterBit, RowHash{this})) return counter;
  counters_.Free(handle);
  return nullptr;
}

int64_t Stripe::Count(uint64_t hash, int64_t id, int64_t count,
                      uint32_t interval) {
  Counter* const counter = CounterOf(hash, id);
  return counter == nullptr ? OccurrenceCounts::kMax
                            : counter->counts.Add(count, interval);
}

bool Stripe::RestoreCounter(uint64_t hash, const Counter& saved) {
  if (Find(hash, saved.id) != nullptr) return true;
  Counter* const counter = CounterOf(hash, saved.id);
  if (counter == nullptr) return false;
  OccurrenceCounts older = saved.counts;
  OccurrenceCounts& newer = counter->counts;
  older.Add(0, newer.interval);
  newer.Add(0, older.interval);
  newer.current = std::max(newer.current, older.current);
  newer.previous = std::max(newer.previous, older.previous);
  return true;
}

int64_t Stripe::SweepExpired(uint32_t clock, uint32_t ttl,
                             int64_t num_handles) {
  int64_t num_removed = 0;
  for (int64_t i = 0; i < num_handles && rows_.size() > 0; ++i) {
    if (row_hand_ >= rows_.end()) row_hand_ = 0;
    const uint32_t handle = row_hand_++;
    if (!rows_.IsUsed(handle)) continue;
    const Row* const row = RowAt(handle);
    if (!IsExpired(row, clock, ttl)) continue;
    RemoveRow(hash_(row->id), handle);
    ++num_removed;
  }
  stats_.num_expired += num_removed;
  return num_removed;
}

void Stripe::SweepCounters(uint32_t interval, int64_t num_handles) {
  for (int64_t i = 0; i < num_handles && counters_.size() > 0; ++i) {
    if (counter_hand_ >= counters_.end()) counter_hand_ = 0;
    const uint32_t handle = counter_hand_++;
    if (!counters_.IsUsed(handle)) continue;
    const Counter* const counter = CounterAt(handle);
    if (interval <= counter->counts.interval ||
        interval - counter->counts.interval <= 1) {
      continue;
    }
    index_.Erase(hash_(counter->id), handle | kCounterBit, RowHash{this});
    counters_.Free(handle);
  }
}

Stripe::Rank Stripe::RankOf(const Row* row, EvictionPolicy policy,
                            float* scratch) const {
  Rank rank = {0, layout_->UpdateOf(row), row->id};
  switch (policy) {
    case EvictionPolicy::kLru:
      rank.score = row->last_update;
      break;
    case EvictionPolicy::kLfu:
      rank.score =
          static_cast<uint64_t>(row->frequency) << 32 | row->last_update;
      break;
    case EvictionPolicy::kLowestNorm:
      // Floats that are not negative are ordered as their bits are.
      const float norm = layout_->SquaredNorm(row, scratch);
      uint32_t bits;
      std::memcpy(&bits, &norm, sizeof(bits));
      rank.score = bits;
  }
  return rank;
}

int Stripe::EvictAmong(const uint32_t* handles, int n, EvictionPolicy policy,
                       int num_rows, int64_t spared_from, float* scratch) {
  struct Candidate {
    Rank rank;
    uint32_t handle;
  };
  Candidate rows[kNextHandles];
  int size = 0;
  for (int i = 0; i < n; ++i) {
    const Row* const row = RowAt(handles[i]);
    if (layout_->UpdateOf(row) >= spared_from) continue;
    rows[size++] = {RankOf(row, policy, scratch), handles[i]};
  }
  const int num_victims = std::min(num_rows, size);
  std::partial_sort(
      rows, rows + num_victims, rows + size,
      [](const Candidate& a, const Candidate& b) { return a.rank < b.rank; });
  for (int i = 0; i < num_victims; ++i) {
    RemoveRow(hash_(rows[i].rank.id), rows[i].handle);
  }
  stats_.num_capped += num_victims;
  return num_victims;
}

int Stripe::EvictLowest(EvictionPolicy policy, int num_rows,
                        int64_t spared_from, float* scratch) {
  const int64_t wanted = std::min<int64_t>(kSampleRows, rows_.size());
  uint32_t handles[kSampleRows];
  for (int64_t i = 0; i < wanted; ++i) {
    random_ = Mix64(random_ + 0x9E3779B97F4A7C15ULL);
    uint32_t handle =
        rows_.NextUsed(static_cast<uint32_t>(random_ % rows_.end()));
    if (handle >= rows_.end()) handle = rows_.NextUsed(0);
    handles[i] = handle;
    PrefetchLine(rows_.At(handle));
  }
  std::sort(handles, handles + wanted);
  const auto n =
      static_cast<int>(std::unique(handles, handles + wanted) - handles);
  return EvictAmong(handles, n, policy, num_rows, spared_from, scratch);
}

int Stripe::EvictLowestOfNext(EvictionPolicy policy, int num_rows,
                              int64_t spared_from, float* scratch) {
  if (cap_hand_ >= rows_.end()) cap_hand_ = 0;
  const uint32_t last =
      std::min<uint32_t>(rows_.end(), cap_hand_ + kNextHandles);
  uint32_t handles[kNextHandles];
  int n = 0;
  for (uint32_t handle = rows_.NextUsed(cap_hand_); handle < last;
       handle = rows_.NextUsed(handle + 1)) {
    handles[n++] = handle;
  }
  cap_hand_ = last;
  return EvictAmong(handles, n, policy, num_rows, spared_from, scratch);
}

bool Stripe::EvictForCap(uint64_t hash, int64_t id, int64_t spared_from) {
  const uint32_t handle = FindEntry(hash, id);
  if ((handle & kCounterBit) != 0 ||
      layout_->UpdateOf(RowAt(handle)) >= spared_from) {
    return false;
  }
  RemoveRow(hash, handle);
  ++stats_.num_capped;
  return true;
}

int Stripe::Compact(int max_moves, bool to_the_last) {
  if (num_pins_ > 0) return 0;
  int done = 0;
  if (rows_.has_slack() || (to_the_last && rows_.size() < rows_.end())) {
    done += rows_.Compact(max_moves, [this](uint32_t from, uint32_t to) {
      index_.Replace(hash_(RowAt(to)->id), from, to);
    });
  }
  if (counters_.has_slack() ||
      (to_the_last && counters_.size() < counters_.end())) {
    done += counters_.Compact(max_moves, [this](uint32_t from, uint32_t to) {
      index_.Replace(hash_(CounterAt(to)->id), from | kCounterBit,
                     to | kCounterBit);
    });
  }
  return done;
}

bool Stripe::Reserve(int64_t num_rows) {
  reserved_rows_ = num_rows;
  return index_.Reserve(num_rows);
}

std::vector<MemoryPool::Slab> Stripe::MakeIndex() const {
  int64_t num_rows;
  {
    SpinLockHolder holder(&lock_);
    num_rows = reserved_rows_;
  }
  return index_.MakeChunks(num_rows);
}

void Stripe::Clear(std::vector<MemoryPool::Slab>* index, RowArena* rows,
                   RowArena* counters) {
  if (capture_ != nullptr) capture_->Break();
  std::vector<MemoryPool::Slab> reserved = std::move(*index);
  *index = index_.Clear();
  *rows = std::exchange(
      rows_, RowArena(layout_->record_bytes(), pool_, max_slab_bytes_));
  *counters = std::exchange(counters_,
                            RowArena(sizeof(Counter), pool_, max_slab_bytes_));
  row_hand_ = 0;
  cap_hand_ = 0;
  counter_hand_ = 0;
  // Without memory for it the index grows as it can.
  (void)index_.Reserve(reserved_rows_, std::move(reserved));
}

bool Stripe::MoveSlabs() {
  const bool has_moved_rows = rows_.MoveSlab();
  const bool has_moved_counters = counters_.MoveSlab();
  return index_.MoveChunk() || has_moved_rows || has_moved_counters;
}

int64_t Stripe::num_slabs() const {
  return std::max(
      {rows_.num_slabs(), counters_.num_slabs(), index_.num_chunks()});
}

void Stripe::AddStats(TableStats* stats) const {
  stats->num_rows += rows_.size();
  stats->num_counted += counters_.size();
  stats->num_expired += stats_.num_expired;
  stats->num_capped += stats_.num_capped;
  stats->row_bytes +=
      rows_.size() * static_cast<int64_t>(layout_->record_bytes());
  stats->arena_bytes += rows_.memory_bytes();
  stats->counter_bytes += counters_.memory_bytes();
  stats->index_bytes += index_.memory_bytes();
  stats->log_bytes += touched_.memory_bytes();
  stats->index_entries += index_.size();
  stats->index_capacity +=
      index_.num_buckets() * CuckooIndex::kEntriesPerBucket;
  stats->index_stash += index_.stash_size();
  uint32_t handle = rows_.NextUsed(0);
  for (int i = 0; i < kProbedEntries && handle < rows_.end(); ++i) {
    ++stats->probed_entries;
    stats->probed_in_first +=
        index_.IsInFirst(hash_(RowAt(handle)->id), handle);
    handle = rows_.NextUsed(handle + 1);
  }
}

}  // namespace monolith_tf
