#include "ops/cc/table/table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/table/copy_floats.h"
#include "ops/cc/table/hash.h"
#include "ops/cc/table/initializer.h"
#include "ops/cc/table/memory_block.h"
#include "ops/cc/table/memory_pool.h"
#include "ops/cc/table/optimizer.h"
#include "ops/cc/table/prefetch.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/spin_lock.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/striped_batch.h"
#include "ops/cc/table/table_rows.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMaxEventTime = 0xFFFFFFFF;

absl::Status OutOfMemory(const TableConfig& config) {
  return absl::ResourceExhaustedError(
      absl::StrCat("table \"", config.name,
                   "\": no memory for another row; a part of the batch is "
                   "applied. Use more servers or remove rows."));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Table>> Table::Create(
    const TableConfig& config) {
  absl::Status status = config.Validate();
  if (!status.ok()) return status;
  return std::unique_ptr<Table>(new Table(config));
}

Table::Table(const TableConfig& config)
    : config_(config),
      initializer_(std::move(MakeInitializer(config.initializer)).value()),
      optimizer_(std::move(MakeOptimizer(config.optimizer)).value()),
      row_width_(config.dim * (1 + optimizer_->num_slots())),
      table_key_(TableKey(config.seed, config.name)),
      hash_(KeyedHash::OfProcess()),
      group_rows_(static_cast<int>(std::clamp<int64_t>(
          kMaxGroupBytes / (row_width_ * static_cast<int64_t>(sizeof(float))),
          1, kMaxGroupRows))),
      pool_(std::make_unique<MemoryPool>()) {
  for (int number = 0; number < kNumStripes; ++number) {
    stripes_[number] =
        std::make_unique<Stripe>(number, row_width_, hash_, pool_.get());
  }
}

Table::~Table() = default;

void Table::InitializeRow(int64_t id, float* row) const {
  initializer_->Fill(IdKey(table_key_, id), dim(), row);
}

absl::Status Table::CheckBatch(const char* method, int64_t n,
                               bool has_null) const {
  if (n >= 0 && (n == 0 || !has_null)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("table \"", config_.name, "\": ", method,
                   " takes n >= 0 ids with all their inputs. Received: n = ", n,
                   has_null ? " and an input that is null" : ""));
}

void Table::Lookup(const int64_t* ids, int64_t n, float* rows,
                   bool* exists) const {
  const int64_t dim = this->dim();
  ForEachRow(
      ids, n, dim * sizeof(float),
      [=](int64_t position, const Row& row) {
        CopyFloats(row.values(), dim, rows + position * dim);
        if (exists != nullptr) exists[position] = true;
      },
      [=](int64_t position) {
        InitializeRow(ids[position], rows + position * dim);
        if (exists != nullptr) exists[position] = false;
      });
}

template <typename Initialize, typename Update>
absl::Status Table::ChangeRows(const int64_t* ids, int64_t n, StripePart part,
                               const Initialize& initialize,
                               const Update& update) {
  absl::Status status;
  const size_t bytes = sizeof(Row) + row_width_ * sizeof(float);
  StripedBatch::ForEachGroup(
      ids, n, part, hash_, group_rows_, stripes_,
      [&](Stripe* stripe, const StripedGroup& group) {
        pool_->Maintain();
        SpinLockHolder holder(stripe->lock());
        uint32_t candidates[kMaxGroupRows];
        for (int k = 0; k < group.size; ++k) {
          candidates[k] = stripe->Candidate(group.hashes[k]);
          stripe->PrefetchRow(candidates[k], bytes);
        }
        Row* rows[kMaxGroupRows];
        int count = 0;
        bool has_new = false;
        for (; count < group.size; ++count) {
          const int64_t id = group.id(count);
          const uint64_t hash = group.hashes[count];
          Row* row = stripe->FindAt(candidates[count], hash, id);
          // An id that comes twice in this group may just have got its row.
          if (row == nullptr && has_new) row = stripe->Find(hash, id);
          if (row == nullptr) {
            row = stripe->Insert(hash, id);
            if (row == nullptr) break;
            initialize(row);
            has_new = true;
          }
          stripe->Stamp(row);
          rows[count] = row;
        }
        update(group, rows, count);
        if (count == group.size) return true;
        status = OutOfMemory(config_);
        return false;
      });
  return status;
}

absl::Status Table::Check(const ApplyRequest& request) const {
  const int64_t n = request.n;
  absl::Status status =
      CheckBatch("apply", n,
                 request.ids == nullptr || request.counts == nullptr ||
                     request.gradients == nullptr);
  if (!status.ok()) return status;
  const auto refuse = [this](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("table \"", config_.name, "\": ", what...));
  };
  if (!std::isfinite(request.learning_rate)) {
    return refuse("learning_rate must be finite. Received: ",
                  request.learning_rate);
  }
  if (request.global_step < 1) {
    return refuse("global_step must be >= 1, the number of this update. ",
                  "Received: ", request.global_step);
  }
  if (request.event_time < 0 || request.event_time > kMaxEventTime) {
    return refuse("event_time must be seconds since the epoch in [0, ",
                  kMaxEventTime, "]. Received: ", request.event_time);
  }
  for (int64_t i = 0; i < n; ++i) {
    if (request.counts[i] < 1) {
      return refuse("counts must be >= 1, the occurrences of an id in the ",
                    "batch. Received: ", request.counts[i], " for id ",
                    request.ids[i], " at position ", i);
    }
  }
  return absl::OkStatus();
}

absl::Status Table::Apply(const ApplyRequest& request) {
  absl::Status status = Check(request);
  if (!status.ok()) return status;
  return ApplyPart(request, 0, 1);
}

absl::Status Table::ApplyPart(const ApplyRequest& request, int part,
                              int num_parts) {
  const int64_t dim = this->dim();
  const Optimizer::Step step =
      optimizer_->Prepare(request.learning_rate, request.global_step);
  const auto time = static_cast<uint32_t>(request.event_time);
  return ChangeRows(
      request.ids, request.n, StripePart{part, num_parts},
      [&](Row* row) {
        InitializeRow(row->id, row->values());
        optimizer_->InitializeSlots(dim, row->values() + dim);
      },
      [&](const StripedGroup& group, Row* const* rows, int count) {
        float* values[kMaxGroupRows];
        const float* gradients[kMaxGroupRows];
        for (int k = 0; k < count; ++k) {
          rows[k]->last_update = std::max(rows[k]->last_update, time);
          values[k] = rows[k]->values();
          gradients[k] = request.gradients + group.position(k) * dim;
          PrefetchLine(gradients[k]);
        }
        optimizer_->Apply(step, dim, count, values, gradients);
      });
}

absl::Status Table::Assign(const int64_t* ids, const float* rows, int64_t n) {
  absl::Status status =
      CheckBatch("assign", n, ids == nullptr || rows == nullptr);
  if (!status.ok()) return status;
  const int64_t dim = this->dim();
  return ChangeRows(
      ids, n, StripePart(),
      [&](Row* row) { optimizer_->InitializeSlots(dim, row->values() + dim); },
      [&](const StripedGroup& group, Row* const* targets, int count) {
        for (int k = 0; k < count; ++k) {
          CopyFloats(rows + group.position(k) * dim, dim, targets[k]->values());
        }
      });
}

absl::Status Table::Import(const int64_t* ids, const int64_t* last_update,
                           const float* rows, int64_t n) {
  absl::Status status = CheckBatch(
      "import", n, ids == nullptr || rows == nullptr || last_update == nullptr);
  if (!status.ok()) return status;
  for (int64_t i = 0; i < n; ++i) {
    if (last_update[i] < 0 || last_update[i] > kMaxEventTime) {
      return absl::InvalidArgumentError(absl::StrCat(
          "table \"", config_.name, "\": last_update must be in [0, ",
          kMaxEventTime, "]. Received: ", last_update[i], " for id ", ids[i],
          " at position ", i));
    }
  }
  return ChangeRows(
      ids, n, StripePart(), [](Row*) {},
      [&](const StripedGroup& group, Row* const* targets, int count) {
        for (int k = 0; k < count; ++k) {
          const int64_t position = group.position(k);
          targets[k]->last_update =
              static_cast<uint32_t>(last_update[position]);
          CopyFloats(rows + position * row_width_, row_width_,
                     targets[k]->values());
        }
      });
}

int64_t Table::Remove(const int64_t* ids, int64_t n) {
  int64_t num_removed = 0;
  StripedBatch::ForEachGroup(ids, n, StripePart(), hash_, group_rows_, stripes_,
                             [&](Stripe* stripe, const StripedGroup& group) {
                               SpinLockHolder holder(stripe->lock());
                               for (int k = 0; k < group.size; ++k) {
                                 num_removed += stripe->Remove(group.hashes[k],
                                                               group.id(k));
                               }
                               return true;
                             });
  return num_removed;
}

int64_t Table::size() const {
  int64_t size = 0;
  for (const std::unique_ptr<Stripe>& stripe : stripes_) {
    SpinLockHolder holder(stripe->lock());
    size += stripe->index().size();
  }
  return size;
}

int64_t Table::memory_bytes() const {
  int64_t bytes =
      sizeof(*this) + kNumStripes * sizeof(Stripe) + pool_->idle_bytes();
  for (const std::unique_ptr<Stripe>& stripe : stripes_) {
    SpinLockHolder holder(stripe->lock());
    bytes += stripe->memory_bytes();
  }
  return bytes;
}

}  // namespace monolith_tf
