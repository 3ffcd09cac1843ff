#include "ops/cc/snapshot/part_writer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/snapshot/part_format.h"
#include "ops/cc/storage/crc32c.h"
#include "ops/cc/storage/file.h"
#include "ops/cc/table/row_snapshot.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set_snapshot.h"

namespace monolith_tf {
namespace {

// A block of rows is about this large, unless buffers have to be smaller.
constexpr int64_t kBlockBytes = int64_t{1} << 20;
constexpr int kMaxRanges = 64;
constexpr int64_t kMaxRemovedPerBlock = 65536;

using Pieces = std::vector<absl::string_view>;

template <typename T>
absl::string_view BytesOf(const std::vector<T>& values, int64_t count) {
  return absl::string_view(reinterpret_cast<const char*>(values.data()),
                           static_cast<size_t>(count) * sizeof(T));
}

// The partitions of one shard, split into ranges of about equal size.
class Ranges {
 public:
  Ranges(int shard, int num_shards, int64_t num_wanted) {
    const auto first = FirstOf(shard, num_shards);
    const auto end = FirstOf(shard + 1, num_shards);
    first_ = first;
    partitions_ = std::max(1, end - first);
    size_ = static_cast<int>(
        std::clamp<int64_t>(num_wanted, 1, std::min(kMaxRanges, partitions_)));
  }

  int size() const { return size_; }
  int first(int range) const {
    return first_ + static_cast<int>(int64_t{range} * partitions_ / size_);
  }
  int end(int range) const { return first(range + 1); }
  // The range of an id of the shard.
  int Of(int64_t id) const {
    const int64_t place = PartitionOf(id) - first_;
    auto range = static_cast<int>(place * size_ / partitions_);
    // first() rounds down.
    while (range + 1 < size_ && PartitionOf(id) >= first(range + 1)) ++range;
    while (range > 0 && PartitionOf(id) < first(range)) --range;
    return std::clamp(range, 0, size_ - 1);
  }

 private:
  // The first partition that `shard` owns: the smallest p with
  // floor(p * num_shards / 4096) >= shard.
  static int FirstOf(int shard, int num_shards) {
    return static_cast<int>((int64_t{shard} * kNumPartitions + num_shards - 1) /
                            num_shards);
  }

  int first_;
  int partitions_;
  int size_;
};

// The file, and what it holds so far. Thread-safe.
class Output {
 public:
  explicit Output(FileWriter* file) : file_(file) {}

  absl::Status WriteHeader(const PartHeader& header) {
    std::lock_guard<std::mutex> lock(mutex_);
    return Append(Encode(header));
  }

  // Fills in the sizes and the checksum.
  absl::Status WriteBlock(BlockHeader header, const Pieces& payload) {
    for (const absl::string_view piece : payload) {
      header.payload_bytes += piece.size();
      header.payload_crc =
          ExtendCrc32c(header.payload_crc, piece.data(), piece.size());
    }
    std::lock_guard<std::mutex> lock(mutex_);
    if (header.kind == BlockKind::kRows) num_rows_ += header.count;
    if (header.kind == BlockKind::kRemoved) num_removed_ += header.count;
    if (header.kind != BlockKind::kIndex) index_.push_back({offset_, header});
    absl::Status status = Append(Encode(header));
    for (const absl::string_view piece : payload) {
      if (status.ok()) status = Append(piece);
    }
    return status;
  }

  // Writes index and trailer.
  absl::Status Finish() {
    const uint64_t index_offset = offset_;
    const std::string index = Encode(index_);
    BlockHeader header;
    header.kind = BlockKind::kIndex;
    header.count = index_.size();
    const absl::Status status = WriteBlock(header, {index});
    if (!status.ok()) return status;
    std::lock_guard<std::mutex> lock(mutex_);
    return Append(EncodeTrailer(index_offset));
  }

  PartSummary summary() const {
    PartSummary summary;
    summary.bytes = static_cast<int64_t>(offset_);
    summary.crc = crc_;
    summary.num_rows = static_cast<int64_t>(num_rows_);
    summary.num_removed = static_cast<int64_t>(num_removed_);
    return summary;
  }

 private:
  absl::Status Append(absl::string_view bytes) {
    crc_ = ExtendCrc32c(crc_, bytes.data(), bytes.size());
    offset_ += bytes.size();
    return file_->Append(bytes.data(), bytes.size());
  }

  FileWriter* const file_;
  std::mutex mutex_;
  uint64_t offset_ = 0;
  uint32_t crc_ = 0;
  uint64_t num_rows_ = 0;
  uint64_t num_removed_ = 0;
  std::vector<BlockEntry> index_;
};

// Rows of one thread, gathered by range of partitions.
class RowBuffers {
 public:
  RowBuffers(uint32_t table, int64_t row_width, const Ranges* ranges,
             int64_t block_bytes, Output* output)
      : table_(table),
        row_width_(row_width),
        ranges_(ranges),
        capacity_(std::max<int64_t>(1, block_bytes / (16 + 4 * row_width))),
        output_(output),
        buffers_(ranges->size()) {}

  absl::Status Add(int64_t n, const int64_t* ids, const int64_t* stamps,
                   const float* rows) {
    for (int64_t i = 0; i < n; ++i) {
      const int range = ranges_->Of(ids[i]);
      Buffer& buffer = buffers_[range];
      if (buffer.ids.capacity() == 0) {
        buffer.ids.reserve(capacity_);
        buffer.stamps.reserve(capacity_);
        buffer.rows.reserve(capacity_ * row_width_);
      }
      buffer.ids.push_back(ids[i]);
      buffer.stamps.push_back(stamps[i]);
      const float* const row = rows + i * row_width_;
      buffer.rows.insert(buffer.rows.end(), row, row + row_width_);
      if (static_cast<int64_t>(buffer.ids.size()) < capacity_) continue;
      const absl::Status status = Flush(range);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status FlushAll() {
    for (int range = 0; range < ranges_->size(); ++range) {
      const absl::Status status = Flush(range);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  struct Buffer {
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> rows;
  };

  absl::Status Flush(int range) {
    Buffer& buffer = buffers_[range];
    const auto count = static_cast<int64_t>(buffer.ids.size());
    if (count == 0) return absl::OkStatus();
    BlockHeader header;
    header.kind = BlockKind::kRows;
    header.table = table_;
    header.first_partition = ranges_->first(range);
    header.end_partition = ranges_->end(range);
    header.count = count;
    const absl::Status status = output_->WriteBlock(
        header, {BytesOf(buffer.ids, count), BytesOf(buffer.stamps, count),
                 BytesOf(buffer.rows, count * row_width_)});
    buffer.ids.clear();
    buffer.stamps.clear();
    buffer.rows.clear();
    return status;
  }

  const uint32_t table_;
  const int64_t row_width_;
  const Ranges* const ranges_;
  const int64_t capacity_;
  Output* const output_;
  std::vector<Buffer> buffers_;
};

// Writes one snapshot.
class Job {
 public:
  Job(TableSetSnapshot* snapshot, int num_threads,
      const std::atomic<bool>& is_cancelled, Output* output)
      : snapshot_(snapshot),
        num_threads_(std::clamp(num_threads, 1, PartWriter::kMaxThreads)),
        is_cancelled_(is_cancelled),
        output_(output) {}

  absl::Status Run(const std::array<uint8_t, 16>& id) {
    PartHeader header;
    header.shard = snapshot_->shard;
    header.num_shards = snapshot_->num_shards;
    header.id = id;
    header.generation = snapshot_->generation;
    header.from_cut = snapshot_->from_cut;
    header.to_cut = snapshot_->to_cut;
    absl::Status status = output_->WriteHeader(header);
    if (status.ok() && !snapshot_->requests.empty()) {
      status = WriteNumbers(BlockKind::kRequests, 0, 0, kNumPartitions,
                            snapshot_->requests);
    }
    for (uint32_t t = 0; t < snapshot_->tables.size() && status.ok(); ++t) {
      status = WriteTable(t);
    }
    if (status.ok()) status = CheckGoesOn();
    return status.ok() ? output_->Finish() : status;
  }

  int64_t max_copied_bytes() const { return max_copied_bytes_; }

 private:
  absl::Status WriteNumbers(BlockKind kind, uint32_t table, int first, int end,
                            const std::vector<int64_t>& numbers) {
    BlockHeader header;
    header.kind = kind;
    header.table = table;
    header.first_partition = first;
    header.end_partition = end;
    header.count = numbers.size();
    return output_->WriteBlock(
        header, {BytesOf(numbers, static_cast<int64_t>(numbers.size()))});
  }

  absl::Status WriteTable(uint32_t t) {
    const TableSnapshot& table = snapshot_->tables[t];
    TablePrologue prologue;
    prologue.name = table.table->config().name;
    prologue.row_width = table.rows->row_width();
    prologue.is_full = table.is_full;
    prologue.global_step = table.clock.global_step;
    prologue.event_time = table.clock.event_time;
    prologue.num_rows = table.num_rows;
    BlockHeader header;
    header.kind = BlockKind::kTable;
    header.table = t;
    header.end_partition = kNumPartitions;
    header.count = 1;
    const std::string bytes = Encode(prologue);
    absl::Status status = output_->WriteBlock(header, {bytes});
    for (int group = 0; group < static_cast<int>(table.filter.size());
         ++group) {
      if (!status.ok()) return status;
      if (table.filter[group].empty()) continue;
      constexpr int kPerGroup = kNumPartitions / kNumGroups;
      status = WriteNumbers(BlockKind::kFilter, t, group * kPerGroup,
                            (group + 1) * kPerGroup, table.filter[group]);
    }
    return status.ok() ? WriteRows(t) : status;
  }

  absl::Status WriteRows(uint32_t t) {
    const TableSnapshot& table = snapshot_->tables[t];
    const int64_t row_bytes = 16 + 4 * table.rows->row_width();
    int64_t num_rows = table.num_rows;
    if (!table.is_full) {
      num_rows = 0;
      for (const auto& ids : table.changed) num_rows += ids.size();
    }
    const Ranges ranges(snapshot_->shard, snapshot_->num_shards,
                        num_rows * row_bytes / kBlockBytes);
    const int num_threads =
        num_rows * row_bytes < kBlockBytes ? 1 : num_threads_;
    const int64_t block_bytes = std::min(
        kBlockBytes, PartWriter::kBufferBytes / num_threads / ranges.size());
    std::atomic<int> next{0};
    std::mutex mutex;
    absl::Status first_error;
    std::atomic<bool> has_failed{false};
    const auto work = [&] {
      RowBuffers buffers(t, table.rows->row_width(), &ranges, block_bytes,
                         output_);
      absl::Status status;
      while (status.ok() && !has_failed) {
        const int stripe = next.fetch_add(1);
        if (stripe >= Table::kNumStripes) break;
        status = WriteStripe(t, stripe, &buffers);
      }
      if (status.ok()) status = buffers.FlushAll();
      if (status.ok()) return;
      std::lock_guard<std::mutex> lock(mutex);
      first_error.Update(status);
      has_failed = true;
    };
    std::vector<std::thread> threads;
    for (int i = 1; i < num_threads; ++i) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    return first_error;
  }

  absl::Status WriteStripe(uint32_t t, int stripe, RowBuffers* buffers) {
    const TableSnapshot& table = snapshot_->tables[t];
    const RowSnapshot::RowSink sink = [&](int64_t n, const int64_t* ids,
                                          const int64_t* stamps,
                                          const float* rows) {
      absl::Status status = buffers->Add(n, ids, stamps, rows);
      return status.ok() ? Breathe() : status;
    };
    absl::Status status = Breathe();
    if (!status.ok()) return status;
    if (table.is_full) return table.rows->WalkStripe(stripe, sink);
    return table.rows->WalkChanges(
        stripe, table.changed[stripe], sink,
        [&](int64_t n, const int64_t* ids) { return WriteRemoved(t, n, ids); });
  }

  absl::Status WriteRemoved(uint32_t t, int64_t n, const int64_t* ids) {
    const Ranges all(snapshot_->shard, snapshot_->num_shards, 1);
    for (int64_t begin = 0; begin < n; begin += kMaxRemovedPerBlock) {
      const int64_t end = std::min(n, begin + kMaxRemovedPerBlock);
      const absl::Status status =
          WriteNumbers(BlockKind::kRemoved, t, all.first(0), all.end(0),
                       std::vector<int64_t>(ids + begin, ids + end));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // Between batches of rows: stops a cancelled job, and keeps the copies of
  // changed rows few. The copies of the stripes in hand can't be drained, so
  // the bound is not reached if these change faster than they are written.
  absl::Status Breathe() {
    absl::Status goes_on = CheckGoesOn();
    if (!goes_on.ok()) return goes_on;
    const int64_t copied = snapshot_->copied_bytes.load();
    if (copied < TableSetSnapshot::kMaxCopiedBytes / 4) return absl::OkStatus();
    std::unique_lock<std::mutex> lock(drain_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return absl::OkStatus();
    max_copied_bytes_ = std::max(max_copied_bytes_, copied);
    for (uint32_t t = 0; t < snapshot_->tables.size(); ++t) {
      const absl::Status status = DrainTable(t);
      if (!status.ok()) return status;
    }
    if (snapshot_->copied_bytes.load() < TableSetSnapshot::kMaxCopiedBytes) {
      return absl::OkStatus();
    }
    return absl::AbortedError(absl::StrCat(
        "Rows change faster than the snapshot is written: copies of changed "
        "rows take more than ",
        TableSetSnapshot::kMaxCopiedBytes,
        " bytes. Write to a faster disk, or with more servers."));
  }

  absl::Status CheckGoesOn() const {
    if (is_cancelled_) {
      return absl::AbortedError("The snapshot was cancelled.");
    }
    if (!snapshot_->is_broken) return absl::OkStatus();
    return absl::AbortedError(
        "The tables were restored while their snapshot was written. Begin "
        "another snapshot.");
  }

  absl::Status DrainTable(uint32_t t) {
    const TableSnapshot& table = snapshot_->tables[t];
    const Ranges ranges(snapshot_->shard, snapshot_->num_shards, 1);
    RowBuffers buffers(t, table.rows->row_width(), &ranges, kBlockBytes,
                       output_);
    const absl::Status status = table.rows->Drain(
        [&](int stripe) {
          return table.is_full ? nullptr : &table.changed[stripe];
        },
        [&](int64_t n, const int64_t* ids, const int64_t* stamps,
            const float* rows) { return buffers.Add(n, ids, stamps, rows); });
    return status.ok() ? buffers.FlushAll() : status;
  }

  TableSetSnapshot* const snapshot_;
  const int num_threads_;
  const std::atomic<bool>& is_cancelled_;
  Output* const output_;
  std::mutex drain_mutex_;
  int64_t max_copied_bytes_ = 0;
};

}  // namespace

absl::StatusOr<PartSummary> PartWriter::Write(
    TableSetSnapshot* snapshot, const std::array<uint8_t, 16>& id,
    int num_threads, const std::atomic<bool>& is_cancelled, FileWriter* file) {
  Output output(file);
  Job job(snapshot, num_threads, is_cancelled, &output);
  absl::Status status = job.Run(id);
  if (status.ok()) status = file->Sync();
  if (status.ok()) status = file->Close();
  if (!status.ok()) return status;
  PartSummary summary = output.summary();
  summary.max_copied_bytes = job.max_copied_bytes();
  return summary;
}

}  // namespace monolith_tf
