#include "ops/cc/table/row_snapshot.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_capture.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"

namespace monolith_tf {
namespace {

// Bytes of rows that go to a sink at once.
constexpr int64_t kBatchBytes = int64_t{128} << 10;

// Records that are copied under one hold of a stripe's lock.
int64_t RecordsPerHold(size_t record_bytes) {
  return std::clamp<int64_t>(
      StripeSet::kMaxRunBytes / static_cast<int64_t>(record_bytes), 1,
      StripeSet::kRecordsPerHold);
}

bool Contains(const std::vector<int64_t>& sorted, int64_t id) {
  return std::binary_search(sorted.begin(), sorted.end(), id);
}

// Records outside of their table, aligned as in it.
class Records {
 public:
  Records(size_t record_bytes, int64_t max_records)
      : record_bytes_(record_bytes),
        bytes_(new char[record_bytes * max_records]) {}

  void Clear() { size_ = 0; }
  int64_t size() const { return size_; }
  void Append(const Row* row) {
    std::memcpy(bytes_.get() + record_bytes_ * size_++, row, record_bytes_);
  }
  const Row* at(int64_t i) const {
    return reinterpret_cast<const Row*>(bytes_.get() + record_bytes_ * i);
  }

 private:
  const size_t record_bytes_;
  int64_t size_ = 0;
  const std::unique_ptr<char[]> bytes_;
};

}  // namespace

class RowSnapshot::Batch {
 public:
  Batch(const RowLayout* layout, const RowSink* sink)
      : layout_(layout),
        sink_(sink),
        capacity_(std::clamp<int64_t>(
            kBatchBytes / (layout->row_width() * sizeof(float)), 1, 4096)),
        ids_(capacity_),
        stamps_(capacity_),
        rows_(capacity_ * layout->row_width()) {}

  absl::Status Add(const Row* row) {
    ids_[size_] = row->id;
    stamps_[size_] = layout_->tracks_changes() ? StampOf(*row) : 0;
    layout_->ReadAll(row, rows_.data() + size_ * layout_->row_width());
    return ++size_ < capacity_ ? absl::OkStatus() : Flush();
  }

  absl::Status Flush() {
    const int64_t n = std::exchange(size_, 0);
    if (n == 0) return absl::OkStatus();
    return (*sink_)(n, ids_.data(), stamps_.data(), rows_.data());
  }

 private:
  const RowLayout* const layout_;
  const RowSink* const sink_;
  const int64_t capacity_;
  int64_t size_ = 0;
  std::vector<int64_t> ids_;
  std::vector<int64_t> stamps_;
  std::vector<float> rows_;
};

RowSnapshot::RowSnapshot(const RowLayout* layout, const StripeSet* stripes,
                         std::atomic<int64_t>* total_bytes)
    : layout_(layout), stripes_(stripes), total_bytes_(total_bytes) {}

RowSnapshot::~RowSnapshot() {
  for (int s = 0; s < StripeSet::kNumStripes; ++s) {
    if (parts_[s].capture == nullptr) continue;
    SpinLockHolder holder(stripes_->at(s)->lock());
    stripes_->at(s)->SetCapture(nullptr);
  }
}

int RowSnapshot::StripeOf(int64_t id) const {
  return CuckooIndex::StripeOf(stripes_->hash()(id));
}

void RowSnapshot::Start(int64_t mark, std::vector<int64_t>* touched) {
  const bool has_cuts = layout_->tracks_changes();
  for (int s = 0; s < StripeSet::kNumStripes; ++s) {
    auto capture = std::make_unique<RowCapture>(
        layout_->record_bytes(), has_cuts ? static_cast<uint32_t>(mark) : 0,
        total_bytes_);
    TouchedLog taken;
    Stripe* const stripe = stripes_->at(s);
    {
      SpinLockHolder holder(stripe->lock());
      if (has_cuts) {
        taken = stripe->SwapTouched(mark);
        stripe->SetTracking(true);
      }
      stripe->SetCapture(capture.get());
    }
    parts_[s].capture = std::move(capture);
    taken.CopyTo(touched);
  }
}

void RowSnapshot::BeginWalk(int number) {
  Part& part = parts_[number];
  std::lock_guard<std::mutex> lock(part.mutex);
  part.is_walked = true;
}

absl::Status RowSnapshot::Finish(int number, CapturedRows* rows) {
  Part& part = parts_[number];
  bool is_broken;
  {
    SpinLockHolder holder(stripes_->at(number)->lock());
    stripes_->at(number)->SetCapture(nullptr);
    is_broken = part.capture->is_broken();
    *rows = part.capture->Take();
  }
  part.capture = nullptr;
  if (!is_broken) return absl::OkStatus();
  return absl::AbortedError(
      "The table was cleared or restored while its snapshot was written. "
      "Begin another snapshot.");
}

absl::Status RowSnapshot::WalkStripe(int number, const RowSink& sink) {
  BeginWalk(number);
  Stripe* const stripe = stripes_->at(number);
  const RowCapture& capture = *parts_[number].capture;
  const int64_t per_hold = RecordsPerHold(layout_->record_bytes());
  Records records(layout_->record_bytes(), per_hold);
  Batch batch(layout_, &sink);
  std::vector<int64_t> seen;
  absl::Status status;
  {
    SpinLockHolder holder(stripe->lock());
    seen.reserve(stripe->num_rows());
    stripe->Pin();
  }
  uint32_t handle = 0;
  for (bool is_done = false; !is_done;) {
    records.Clear();
    {
      SpinLockHolder holder(stripe->lock());
      const RowArena& rows = stripe->rows();
      // A cleared stripe ends early; Finish reports it.
      handle = rows.NextUsed(std::min(handle, rows.end()));
      int64_t num_left = per_hold;
      for (; handle < rows.end() && num_left > 0;
           handle = rows.NextUsed(handle + 1), --num_left) {
        const Row* const row = stripe->RowAt(handle);
        if (capture.IsUnchanged(row)) records.Append(row);
      }
      is_done = handle >= rows.end() || !status.ok();
      if (is_done) stripe->Unpin();
    }
    for (int64_t i = 0; i < records.size() && status.ok(); ++i) {
      seen.push_back(records.at(i)->id);
      status = batch.Add(records.at(i));
    }
  }
  CapturedRows captured(layout_->record_bytes());
  status.Update(Finish(number, &captured));
  if (captured.size() > 0) std::sort(seen.begin(), seen.end());
  for (int64_t i = 0; i < captured.size() && status.ok(); ++i) {
    // One that changed after it was read is here too.
    if (!Contains(seen, captured.at(i)->id)) status = batch.Add(captured.at(i));
  }
  return status.ok() ? batch.Flush() : status;
}

absl::Status RowSnapshot::WalkChanges(int number,
                                      const std::vector<int64_t>& ids,
                                      const RowSink& sink,
                                      const RemovedSink& removed) {
  BeginWalk(number);
  Stripe* const stripe = stripes_->at(number);
  Part& part = parts_[number];
  const RowCapture& capture = *part.capture;
  const int64_t per_hold = RecordsPerHold(layout_->record_bytes());
  Records records(layout_->record_bytes(), per_hold);
  Batch batch(layout_, &sink);
  absl::Status status;
  // Ids whose state is in the copies, if there was one.
  std::vector<int64_t> others;
  for (size_t begin = 0; begin < ids.size() && status.ok();) {
    const size_t end =
        std::min(ids.size(), begin + static_cast<size_t>(per_hold));
    records.Clear();
    {
      SpinLockHolder holder(stripe->lock());
      for (size_t i = begin; i < end; ++i) {
        const Row* const row = stripe->Find(stripes_->hash()(ids[i]), ids[i]);
        if (row != nullptr && capture.IsUnchanged(row)) {
          records.Append(row);
        } else {
          others.push_back(ids[i]);
        }
      }
    }
    begin = end;
    for (int64_t i = 0; i < records.size() && status.ok(); ++i) {
      status = batch.Add(records.at(i));
    }
  }
  CapturedRows captured(layout_->record_bytes());
  status.Update(Finish(number, &captured));
  std::sort(others.begin(), others.end());
  std::vector<int64_t> found = std::move(part.drained);
  for (int64_t i = 0; i < captured.size() && status.ok(); ++i) {
    const int64_t id = captured.at(i)->id;
    // Others changed after the moment only, or after they were read.
    if (!Contains(others, id)) continue;
    found.push_back(id);
    status = batch.Add(captured.at(i));
  }
  status.Update(batch.Flush());
  if (!status.ok()) return status;
  std::sort(found.begin(), found.end());
  std::vector<int64_t> gone;
  std::set_difference(others.begin(), others.end(), found.begin(), found.end(),
                      std::back_inserter(gone));
  if (gone.empty()) return absl::OkStatus();
  return removed(static_cast<int64_t>(gone.size()), gone.data());
}

absl::Status RowSnapshot::Drain(
    const std::function<const std::vector<int64_t>*(int)>& changed,
    const RowSink& sink) {
  Batch batch(layout_, &sink);
  for (int s = 0; s < StripeSet::kNumStripes; ++s) {
    Part& part = parts_[s];
    std::lock_guard<std::mutex> lock(part.mutex);
    if (part.is_walked) continue;
    CapturedRows captured(layout_->record_bytes());
    {
      SpinLockHolder holder(stripes_->at(s)->lock());
      captured = part.capture->Take();
    }
    const std::vector<int64_t>* const ids = changed(s);
    for (int64_t i = 0; i < captured.size(); ++i) {
      const Row* const row = captured.at(i);
      if (ids != nullptr) {
        if (!Contains(*ids, row->id)) continue;
        part.drained.push_back(row->id);
      }
      const absl::Status status = batch.Add(row);
      if (!status.ok()) return status;
    }
  }
  return batch.Flush();
}

}  // namespace monolith_tf
