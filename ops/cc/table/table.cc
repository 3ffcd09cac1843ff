#include "ops/cc/table/table.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/available_memory.h"
#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/prefetch.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/optimizer/optimizer.h"
#include "ops/cc/table/config_validation.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"
#include "ops/cc/table/striped_batch.h"
#include "ops/cc/table/table_change.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMaxEventTime = 0xFFFFFFFF;

}  // namespace

absl::StatusOr<std::unique_ptr<Table>> Table::Create(
    const TableConfig& config) {
  absl::Status status = ValidateConfig(config);
  if (!status.ok()) return status;
  auto table = std::unique_ptr<Table>(new Table(config));
  status = table->Reserve();
  if (!status.ok()) return status;
  return table;
}

absl::Status Table::Reserve() {
  if (config_.initial_capacity == 0) return absl::OkStatus();
  // Stripes get about as many rows each: so many, four times in a deviation.
  const double share =
      static_cast<double>(config_.initial_capacity) / kNumStripes;
  const auto num_rows =
      static_cast<int64_t>(std::ceil(share + 4 * std::sqrt(share)));
  const RowArena arena(layout_.record_bytes(), /*pool=*/nullptr,
                       SlabBytesOf(config_.eviction));
  // Of an index that was just split, and with the pages of a pool.
  constexpr int64_t kMostIndexBytesPerRow = 11;
  const int64_t wanted = kNumStripes * (arena.BytesFor(num_rows) +
                                        num_rows * kMostIndexBytesPerRow) +
                         2 * static_cast<int64_t>(MemoryPool::kPageBytes);
  // Pages that are touched are not refused: the process would be killed.
  const int64_t available = AvailableMemory();
  bool has_memory = num_rows <= RowArena::kMaxRecords &&
                    (available < 0 || wanted <= available);
  const int64_t row_bytes =
      has_memory ? kNumStripes * arena.BytesFor(num_rows) : 0;
  for (const auto& stripe : stripes_) {
    SpinLockHolder holder(stripe->lock());
    has_memory = has_memory && stripe->Reserve(num_rows);
  }
  if (has_memory && stripes_.pool()->Reserve(row_bytes))
    return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "Table '", config_.name, "': no memory for an initial_capacity of ",
      config_.initial_capacity, " rows on this server",
      available < 0 ? "" : absl::StrCat(", which has ", available, " bytes"),
      ". Received: a config of ", wanted,
      " bytes. Pass a smaller initial_capacity, or use more servers."));
}

Table::Table(const TableConfig& config)
    : config_(config),
      layout_(config),
      table_key_(TableKey(config.seed, config.name)),
      stripes_(&layout_, KeyedHash::OfProcess(), SlabBytesOf(config_.eviction)),
      filter_(config_.admission, table_key_, &stripes_),
      cap_(config_, &layout_, &stripes_),
      exporter_(&layout_, &stripes_) {}

Table::~Table() = default;

absl::Status Table::OutOfMemory() const {
  return absl::ResourceExhaustedError(
      absl::StrCat("Table '", config_.name,
                   "': no memory for another row; a part of the batch "
                   "was applied. Use more servers or remove rows."));
}

absl::Status Table::CheckBatch(const char* method, int64_t n,
                               bool has_null) const {
  if (n >= 0 && (n == 0 || !has_null)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("Table '", config_.name, "': ", method,
                   " takes n >= 0 ids with all their inputs. Received: n = ", n,
                   has_null ? " and an input that is null" : ""));
}

absl::Status Table::CheckTime(const char* what, int64_t time) const {
  if (time >= 0 && time <= kMaxEventTime) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("Table '", config_.name, "': ", what,
                   " must be seconds since the epoch in [0, ", kMaxEventTime,
                   "]. Received: ", time));
}

absl::Status Table::SetPretrained(int segment,
                                  std::unique_ptr<const PretrainedRows> rows) {
  if (segment < 0 || segment >= num_segments() ||
      rows->dim() != config_.segments[segment].dim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Table '", config_.name,
        "': pretrained rows must be for a segment in [0, ", num_segments(),
        segment >= 0 && segment < num_segments()
            ? absl::StrCat("), of its dim ", config_.segments[segment].dim)
            : ")",
        ". Received: segment ", segment, ", rows of dim ", rows->dim()));
  }
  layout_.SetPretrained(segment, std::move(rows));
  return absl::OkStatus();
}

void Table::Lookup(const int64_t* ids, int64_t n, float* rows, bool* exists,
                   bool is_large) const {
  const int64_t dim = this->dim();
  const int64_t step = last_step_.load(std::memory_order_relaxed);
  const bool reads_zeros = config_.admission.reads_zeros;
  const auto read_missing = [=](int64_t position) {
    float* const row = rows + position * dim;
    if (reads_zeros) {
      std::fill_n(row, dim, 0.0f);
    } else {
      layout_.ReadInitial(ids[position], step, row);
    }
    if (exists != nullptr) exists[position] = false;
  };
  if (is_large && layout_.CanStream(rows)) {
    stripes_.ForEachRow(
        ids, n, layout_.read_bytes(), [](int64_t) {},
        [=](int64_t position, const Row* row) {
          layout_.Stream(row, rows + position * dim);
          if (exists != nullptr) exists[position] = true;
        },
        read_missing);
    FenceStreams();
    return;
  }
  stripes_.ForEachRow(
      ids, n, layout_.read_bytes(),
      // A store to a line that is not there would wait for it.
      [=](int64_t position) { PrefetchFloats(rows + position * dim, dim); },
      [=](int64_t position, const Row* row) {
        layout_.Read(row, step, rows + position * dim);
        if (exists != nullptr) exists[position] = true;
      },
      read_missing);
}

uint32_t Table::StampedTime(uint32_t time, int64_t packed_count) const {
  const int64_t ttl = OwnTtlOf(packed_count);
  if (ttl == 0) return time;
  // As much earlier as makes the row's time run out when its own ttl is over.
  const int64_t earlier = config_.eviction.ttl_seconds - ttl;
  return static_cast<uint32_t>(std::max<int64_t>(0, time - earlier));
}

absl::Status Table::Check(const ApplyRequest& request) const {
  const int64_t n = request.n;
  absl::Status status = CheckBatch(
      "apply", n,
      request.ids == nullptr || request.counts == nullptr ||
          request.gradients == nullptr || request.learning_rates == nullptr);
  if (!status.ok()) return status;
  const auto refuse = [this](const auto&... what) {
    return absl::InvalidArgumentError(
        absl::StrCat("Table '", config_.name, "': ", what...));
  };
  for (int s = 0; s < num_segments() && request.learning_rates != nullptr;
       ++s) {
    if (!std::isfinite(request.learning_rates[s])) {
      return refuse("learning_rate must be finite. Received: ",
                    request.learning_rates[s], " for segment ", s);
    }
  }
  if (request.global_step < 1) {
    return refuse("global_step must be >= 1, the number of this update. ",
                  "Received: ", request.global_step);
  }
  status = CheckTime("event_time", request.event_time);
  if (!status.ok()) return status;
  const int64_t max_min_count = filter_.max_min_count();
  for (int64_t i = 0; i < n; ++i) {
    if (OccurrencesOf(request.counts[i]) == 0 ||
        !AreOverrides(OverridesOf(request.counts[i]))) {
      return refuse("counts must be >= 1, the occurrences of an id in the ",
                    "batch. Received: ", request.counts[i], " for id ",
                    request.ids[i], " at position ", i);
    }
    const int64_t own_min_count = OwnMinCountOf(request.counts[i]);
    if (own_min_count > max_min_count && !HasProbability(request.counts[i])) {
      return refuse("min_count must be in [1, ", max_min_count, "] for ",
                    "admission '", config_.admission.kind,
                    "'. Received: ", own_min_count, " for id ", request.ids[i],
                    " at position ", i);
    }
    const int64_t own_ttl = OwnTtlOf(request.counts[i]);
    if (own_ttl > config_.eviction.ttl_seconds) {
      return refuse("ttl must be in [1, ", config_.eviction.ttl_seconds,
                    "], the ttl of the table, in seconds. Received: ", own_ttl,
                    " for id ", request.ids[i], " at position ", i);
    }
  }
  return absl::OkStatus();
}

absl::Status Table::Apply(const ApplyRequest& request) {
  absl::Status status = Check(request);
  if (!status.ok()) return status;
  ApplyRequest checked = request;
  checked.event_time = AcceptTime(request.event_time);
  checked.gradients_are_good =
      request.n == 0 || FiniteAndBounded(request.gradients, request.n * dim());
  const RunningUpdate update = BeginParts(checked);
  status = ApplyPart(checked, update, StripePart());
  EndUpdate(update);
  return status;
}

RunningUpdate Table::BeginParts(const ApplyRequest& request) {
  // Time passes for a shard that the batch has no ids for, too.
  SeeTime(static_cast<uint32_t>(request.event_time));
  SeeStep(request.global_step);
  SweepNextStripe();
  return BeginUpdate();
}

absl::Status Table::ApplyPart(const ApplyRequest& request, RunningUpdate update,
                              StripePart part) {
  const auto time = static_cast<uint32_t>(request.event_time);
  if (request.n == 0) return absl::OkStatus();
  const int64_t dim = this->dim();
  RowLayout::Step step =
      layout_.Prepare(request.learning_rates, request.global_step);
  const bool tracks_changes = layout_.tracks_changes();
  const bool counts_frequency = cap_.needs_frequency();
  const AdmissionFilter::Moment moment = {
      request.global_step,
      filter_.IntervalOf(clock_.load(std::memory_order_relaxed))};
  // Of the run in hand: one bit for an id whose gradient is bad.
  uint64_t bad = 0;
  int64_t num_bad = 0;
  int64_t num_rejected = 0;
  int64_t num_admitted = 0;
  absl::Status status = ChangeRows(
      request.ids, request.n, part, update.number,
      [&](const StripeRun& run) {
        bad = 0;
        if (request.gradients_are_good && !step.is_steep) return;
        for (int k = 0; k < run.size; ++k) {
          const float* gradient = request.gradients + run.position(k) * dim;
          if (!FiniteAndBounded(gradient, dim) ||
              !layout_.StaysBounded(step, gradient)) {
            bad |= uint64_t{1} << k;
          }
        }
        num_bad += __builtin_popcountll(bad);
      },
      [&](int64_t position) {
        PrefetchFloats(request.gradients + position * dim, dim);
      },
      [&](Stripe* stripe, const StripeRun& run, int k, const Row* row) {
        if ((bad >> k & 1) != 0) return Decision::kSkip;
        if (row != nullptr) return Decision::kUse;
        if (filter_.Admits(stripe, run.hashes[k], run.id(k),
                           request.counts[run.position(k)], moment)) {
          ++num_admitted;
          return Decision::kInsert;
        }
        ++num_rejected;
        return Decision::kSkip;
      },
      [&](const StripeRun&, int, Row* row) { layout_.Initialize(row); },
      [&](const StripeRun& run, Row* const* rows, const int* picks, int count) {
        const float* gradients[StripeSet::kMaxRunRows];
        for (int i = 0; i < count; ++i) {
          const int64_t position = run.position(picks[i]);
          gradients[i] = request.gradients + position * dim;
          if (!tracks_changes) continue;
          Row* const row = rows[i];
          row->last_update = std::max(
              row->last_update, StampedTime(time, request.counts[position]));
          if (!counts_frequency) continue;
          row->frequency = RaisedFrequency(
              row->frequency, OccurrencesOf(request.counts[position]),
              Mix64(IdKey(table_key_, row->id) + request.global_step +
                    (uint64_t{time} << 32)));
        }
        layout_.Apply(&step, count, rows, gradients);
      });
  num_admitted_.fetch_add(num_admitted, std::memory_order_relaxed);
  num_rejected_.fetch_add(num_rejected, std::memory_order_relaxed);
  num_bad_gradients_.fetch_add(num_bad, std::memory_order_relaxed);
  return status;
}

absl::Status Table::Assign(const int64_t* ids, const float* rows, int64_t n,
                           int64_t event_time) {
  const RunningUpdate update = BeginUpdate();
  const absl::Status status =
      AssignPart(ids, rows, n, AcceptTime(event_time), update, StripePart());
  EndUpdate(update);
  return status;
}

absl::Status Table::AssignPart(const int64_t* ids, const float* rows, int64_t n,
                               int64_t event_time, RunningUpdate update,
                               StripePart part) {
  absl::Status status =
      CheckBatch("assign", n, ids == nullptr || rows == nullptr);
  status.Update(CheckTime("event_time", event_time));
  if (!status.ok() || n == 0) return status;
  const int64_t dim = this->dim();
  const auto time = static_cast<uint32_t>(event_time);
  SeeTime(time);
  int64_t num_written = 0;
  status = ChangeRows(
      ids, n, part, update.number, [](const StripeRun&) {},
      [&](int64_t position) { PrefetchFloats(rows + position * dim, dim); },
      [&](Stripe*, const StripeRun&, int, const Row* row) {
        num_written += row == nullptr;
        return row == nullptr ? Decision::kInsert : Decision::kUse;
      },
      [&](const StripeRun& run, int k, Row* row) {
        layout_.Initialize(row, rows + run.position(k) * dim);
      },
      [&](const StripeRun& run, Row* const* targets, const int* picks,
          int count) {
        for (int i = 0; i < count; ++i) {
          layout_.WriteWeights(targets[i], rows + run.position(picks[i]) * dim);
          if (!layout_.tracks_changes()) continue;
          targets[i]->last_update = std::max(targets[i]->last_update, time);
        }
      });
  num_written_.fetch_add(num_written, std::memory_order_relaxed);
  return status;
}

absl::Status Table::Import(const int64_t* ids, const int64_t* stamps,
                           const float* rows, int64_t n) {
  const RunningUpdate update = BeginUpdate();
  const absl::Status status = ImportPart(ids, stamps, rows, n, StripePart());
  EndUpdate(update);
  return status;
}

absl::Status Table::ImportPart(const int64_t* ids, const int64_t* stamps,
                               const float* rows, int64_t n, StripePart part) {
  absl::Status status = CheckBatch(
      "import", n, ids == nullptr || rows == nullptr || stamps == nullptr);
  if (!status.ok() || n == 0) return status;
  uint32_t latest = 0;
  bool has_future = false;
  const int64_t latest_accepted = LatestAccepted();
  for (int64_t i = 0; i < n; ++i) {
    if (stamps[i] < 0 || (stamps[i] >> 32) > Row::kMaxFrequency) {
      return absl::InvalidArgumentError(absl::StrCat(
          "Table '", config_.name, "': a stamp is the time of the last ",
          "update in [0, ", kMaxEventTime, "] + 2^32 * frequency in [0, ",
          Row::kMaxFrequency, "]. Received: ", stamps[i], " for id ", ids[i],
          " at position ", i));
    }
    const auto time = static_cast<uint32_t>(stamps[i]);
    if (time <= latest_accepted) {
      latest = std::max(latest, time);
    } else {
      has_future = true;
    }
  }
  SeeTime(latest);
  // What was saved without times, or with times that are not believed, must not
  // run out before it is updated.
  uint32_t now = clock_.load(std::memory_order_relaxed);
  if (now == 0 && (lost_clock_ || has_future)) {
    now = static_cast<uint32_t>(ServerTime());
  }
  int64_t num_future_times = 0;
  const int64_t width = row_width();
  int64_t num_written = 0;
  status = ChangeRows(
      ids, n, part, /*number=*/0, [](const StripeRun&) {},
      [&](int64_t position) { PrefetchFloats(rows + position * width, width); },
      [&](Stripe*, const StripeRun&, int, const Row* row) {
        num_written += row == nullptr;
        return row == nullptr ? Decision::kInsert : Decision::kUse;
      },
      [](const StripeRun&, int, Row*) {},
      [&](const StripeRun& run, Row* const* targets, const int* picks,
          int count) {
        for (int i = 0; i < count; ++i) {
          const int64_t position = run.position(picks[i]);
          layout_.WriteAll(targets[i], rows + position * width);
          if (!layout_.tracks_changes()) continue;
          const auto time = static_cast<uint32_t>(stamps[position]);
          const bool is_future = time > latest_accepted;
          num_future_times += is_future;
          targets[i]->last_update = time == 0 || is_future ? now : time;
          targets[i]->frequency = static_cast<uint32_t>(stamps[position] >> 32);
        }
      });
  num_written_.fetch_add(num_written, std::memory_order_relaxed);
  num_future_times_.fetch_add(num_future_times, std::memory_order_relaxed);
  return status;
}

int64_t Table::Remove(const int64_t* ids, int64_t n) {
  int64_t num_removed = 0;
  stripes_.ForEachRun(ids, n, StripePart(),
                      [&](Stripe* stripe, const StripeRun& run) {
                        stripes_.pool()->Maintain();
                        run.PrefetchAhead();
                        SpinLockHolder holder(stripe->lock());
                        int64_t num_here = 0;
                        for (int k = 0; k < run.size; ++k) {
                          num_here += stripe->Remove(run.hashes[k], run.id(k));
                        }
                        stripes_.Compact(stripe);
                        num_removed += num_here;
                        cap_.AddRows(-num_here);
                        return true;
                      });
  num_removed_.fetch_add(num_removed, std::memory_order_relaxed);
  return num_removed;
}

void Table::Clear() {
  for (const auto& stripe : stripes_) {
    std::vector<MemoryPool::Slab> index = stripe->MakeIndex();
    RowArena rows(layout_.record_bytes(), stripes_.pool());
    RowArena counters(sizeof(Counter), stripes_.pool());
    bool is_tracking;
    {
      SpinLockHolder holder(stripe->lock());
      is_tracking = stripe->is_tracking();
      cap_.AddRows(-stripe->num_rows());
      stripe->Clear(&index, &rows, &counters);
    }
    num_removed_.fetch_add(rows.size(), std::memory_order_relaxed);
    // The rows are gone for everybody; their ids are logged a few at a time.
    // A cut in between gives the rest to the next.
    uint32_t handle = rows.NextUsed(0);
    while (is_tracking && handle < rows.end()) {
      SpinLockHolder holder(stripe->lock());
      for (uint32_t i = 0;
           i < StripeSet::kRecordsPerHold && handle < rows.end(); ++i) {
        stripe->LogRemoval(reinterpret_cast<const Row*>(rows.At(handle))->id);
        handle = rows.NextUsed(handle + 1);
      }
    }
  }
  filter_.ClearSketch();
  while (stripes_.pool()->Maintain()) {
  }
}

absl::Status Table::ImportFilter(int group, const std::vector<int64_t>& saved,
                                 const std::function<bool(int64_t)>& is_owned) {
  const absl::Status status = filter_.Import(group, saved, is_owned);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("Table '", config_.name,
                                                  "': ", status.message()));
}

}  // namespace monolith_tf
