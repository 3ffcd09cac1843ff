// What admission remembers, saved and restored, and what a table tells about
// itself.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/count_sketch.h"
#include "ops/cc/admission/occurrence_window.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/memory/huge_page_share.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_stats.h"

namespace monolith_tf {
namespace {

constexpr uint32_t kHandlesPerHold = 256;

// A counter as two words: its id; counts and bucket.
int64_t CountsWord(const OccurrenceCounts& counts) {
  return static_cast<int64_t>(counts.bucket) << 32 |
         static_cast<int64_t>(counts.previous) << 16 | counts.current;
}

OccurrenceCounts CountsOf(int64_t word) {
  return {static_cast<uint16_t>(word), static_cast<uint16_t>(word >> 16),
          static_cast<uint32_t>(word >> 32)};
}

}  // namespace

std::vector<std::vector<int64_t>> Table::ExportFilter(int first_group,
                                                      int last_group) const {
  first_group = std::clamp(first_group, 0, kNumGroups);
  last_group = std::clamp(last_group, first_group, kNumGroups);
  std::vector<std::vector<int64_t>> words(last_group - first_group);
  if (sketch_ != nullptr) {
    for (int group = first_group; group < last_group; ++group) {
      words[group - first_group] = sketch_->Export(group);
    }
    return words;
  }
  std::vector<std::vector<std::pair<int64_t, int64_t>>> counters(words.size());
  for (const auto& stripe : stripes_) {
    {
      SpinLockHolder holder(stripe->lock());
      if (stripe->counters().size() == 0) continue;
      stripe->Pin();
    }
    uint32_t handle = 0;
    for (bool is_done = false; !is_done;) {
      Counter found[kHandlesPerHold];
      int count = 0;
      {
        SpinLockHolder holder(stripe->lock());
        const RowArena& arena = stripe->counters();
        // Clear() may have emptied the stripe since the last hold.
        handle = std::min(handle, arena.end());
        const uint32_t last = std::min(arena.end(), handle + kHandlesPerHold);
        for (handle = arena.NextUsed(handle); handle < last;
             handle = arena.NextUsed(handle + 1)) {
          found[count++] = *stripe->CounterAt(handle);
        }
        handle = std::max(handle, last);
        is_done = handle >= arena.end();
        if (is_done) stripe->Unpin();
      }
      for (int i = 0; i < count; ++i) {
        const int group = GroupOf(found[i].id);
        if (group < first_group || group >= last_group) continue;
        counters[group - first_group].emplace_back(found[i].id,
                                                   CountsWord(found[i].counts));
      }
    }
  }
  for (size_t g = 0; g < words.size(); ++g) {
    std::sort(counters[g].begin(), counters[g].end());
    for (const auto& [id, counts] : counters[g]) {
      words[g].push_back(id);
      words[g].push_back(counts);
    }
  }
  return words;
}

absl::Status Table::ImportFilter(int group, const std::vector<int64_t>& words,
                                 const std::function<bool(int64_t)>& is_owned) {
  if (words.empty()) return absl::OkStatus();
  const auto refuse = [this](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat(
        "table \"", config_.name, "\": the saved filter ", what...));
  };
  if (group < 0 || group >= kNumGroups) {
    return refuse("must be of a group in [0, ", kNumGroups,
                  "). Received: ", group);
  }
  if (sketch_ != nullptr) {
    absl::Status status = sketch_->Import(group, words.data(),
                                          static_cast<int64_t>(words.size()));
    return status.ok() ? status : refuse("does not fit: ", status.message());
  }
  if (admission_ != AdmissionKind::kCount || words.size() % 2 != 0) {
    return refuse("has ", words.size(), " words, which a table with admission ",
                  "\"", config_.admission.kind,
                  "\" has no use for. Restore with the admission that it was ",
                  "saved with.");
  }
  for (size_t i = 0; i < words.size(); i += 2) {
    if (GroupOf(words[i]) != group) {
      return refuse("of group ", group, " counts id ", words[i], " of group ",
                    GroupOf(words[i]), ".");
    }
  }
  for (size_t i = 0; i < words.size(); i += 2) {
    const Counter counter = {words[i], CountsOf(words[i + 1])};
    if (!is_owned(counter.id)) continue;
    const uint64_t hash = hash_(counter.id);
    Stripe* const stripe = stripes_[CuckooIndex::StripeOf(hash)].get();
    SpinLockHolder holder(stripe->lock());
    if (!stripe->RestoreCounter(hash, counter)) return OutOfMemory();
  }
  return absl::OkStatus();
}

TableStats Table::stats() const {
  TableStats stats;
  for (const auto& stripe : stripes_) {
    SpinLockHolder holder(stripe->lock());
    stripe->AddStats(&stats);
  }
  stats.num_admitted = num_admitted_.load(std::memory_order_relaxed);
  stats.num_written = num_written_.load(std::memory_order_relaxed);
  stats.num_removed = num_removed_.load(std::memory_order_relaxed);
  stats.num_rejected = num_rejected_.load(std::memory_order_relaxed);
  stats.num_bad_gradients = num_bad_gradients_.load(std::memory_order_relaxed);
  if (sketch_ != nullptr) stats.sketch_bytes = sketch_->memory_bytes();
  stats.pretrained_bytes = layout_.pretrained_bytes();
  stats.pool_bytes = pool_->resident_bytes();
  stats.idle_bytes = pool_->idle_bytes();
  stats.huge_page_bytes = static_cast<int64_t>(
      HugePageShare(pool_->ranges()) * static_cast<double>(stats.pool_bytes));
  return stats;
}

int64_t Table::memory_bytes() const {
  int64_t bytes = sizeof(*this) + kNumStripes * sizeof(Stripe) +
                  pool_->idle_bytes() + layout_.pretrained_bytes();
  for (const auto& stripe : stripes_) {
    TableStats stats;
    SpinLockHolder holder(stripe->lock());
    stripe->AddStats(&stats);
    bytes += stats.arena_bytes + stats.counter_bytes + stats.index_bytes +
             stats.log_bytes;
  }
  return sketch_ == nullptr ? bytes : bytes + sketch_->memory_bytes();
}

}  // namespace monolith_tf
