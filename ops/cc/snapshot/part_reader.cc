#include "ops/cc/snapshot/part_reader.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
#include "absl/strings/str_join.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/snapshot/part_format.h"
#include "ops/cc/storage/crc32c.h"
#include "ops/cc/storage/file.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_set.h"

namespace monolith_tf {
namespace {

constexpr int64_t kIdAndStampBytes = 16;

// The shard of `set` owns `id`.
bool Owns(const TableSet& set, int64_t id) {
  return OwnerOf(PartitionOf(id), set.num_shards()) == set.shard();
}

// Whether a block may hold ids that the shard of `set` owns.
bool Concerns(const TableSet& set, const BlockHeader& block) {
  const int first =
      OwnerOf(static_cast<int>(block.first_partition), set.num_shards());
  const int last = OwnerOf(static_cast<int>(std::max(block.first_partition + 1,
                                                     block.end_partition)) -
                               1,
                           set.num_shards());
  return first <= set.shard() && set.shard() <= last;
}

// The numbers of a block of them.
std::vector<int64_t> NumbersOf(const std::string& payload) {
  std::vector<int64_t> numbers(payload.size() / sizeof(int64_t));
  std::memcpy(numbers.data(), payload.data(), numbers.size() * sizeof(int64_t));
  return numbers;
}

// One thread's buffers.
struct Scratch {
  std::string payload;
  std::vector<int64_t> ids;
  std::vector<int64_t> stamps;
  std::vector<float> rows;
};

// Splits a block of rows, and leaves out those of other shards.
void TakeOwned(const TableSet& set, int64_t count, int64_t width,
               Scratch* scratch) {
  const char* const ids = scratch->payload.data();
  const char* const stamps = ids + count * sizeof(int64_t);
  const char* const rows = stamps + count * sizeof(int64_t);
  scratch->ids.resize(count);
  scratch->stamps.resize(count);
  scratch->rows.resize(count * width);
  const auto row_bytes = static_cast<size_t>(width) * sizeof(float);
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(&scratch->ids[kept], ids + i * sizeof(int64_t),
                sizeof(int64_t));
    if (!Owns(set, scratch->ids[kept])) continue;
    std::memcpy(&scratch->stamps[kept], stamps + i * sizeof(int64_t),
                sizeof(int64_t));
    std::memcpy(scratch->rows.data() + kept * width, rows + i * row_bytes,
                row_bytes);
    ++kept;
  }
  scratch->ids.resize(kept);
}

// Runs work(i) for i in [0, n) on up to `num_threads` threads, until one fails.
// Returns the first error.
absl::Status ForEach(
    int64_t n, int num_threads,
    const std::function<absl::Status(int64_t, Scratch*)>& work) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> has_failed{false};
  std::mutex mutex;
  absl::Status first_error;
  const auto run = [&] {
    Scratch scratch;
    while (!has_failed) {
      const int64_t i = next.fetch_add(1);
      if (i >= n) return;
      const absl::Status status = work(i, &scratch);
      if (status.ok()) continue;
      std::lock_guard<std::mutex> lock(mutex);
      first_error.Update(status);
      has_failed = true;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < std::min<int64_t>(num_threads, n); ++i) {
    threads.emplace_back(run);
  }
  run();
  for (std::thread& thread : threads) thread.join();
  return first_error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PartReader>> PartReader::Open(
    std::unique_ptr<FileReader> file) {
  std::unique_ptr<PartReader> reader(new PartReader(std::move(file)));
  const absl::Status status = reader->ReadIndex();
  if (!status.ok()) return status;
  return reader;
}

absl::Status PartReader::Damaged(int64_t offset,
                                 const std::string& what) const {
  return absl::DataLossError(absl::StrCat(
      path(), ": at offset ", offset, ": ", what,
      ". The file is damaged or of another program; use another snapshot."));
}

absl::Status PartReader::ReadIndex() {
  const int64_t size = file_->size();
  constexpr int64_t kMinBytes =
      PartHeader::kBytes + BlockHeader::kBytes + kTrailerBytes;
  if (size < kMinBytes) {
    return Damaged(0, absl::StrCat("the file has ", size,
                                   " bytes, and a part "
                                   "at least ",
                                   kMinBytes));
  }
  char head[PartHeader::kBytes];
  absl::Status status = file_->Read(0, sizeof(head), head);
  if (!status.ok()) return status;
  absl::StatusOr<PartHeader> header = DecodePartHeader(head);
  if (!header.ok()) {
    return Damaged(0, std::string(header.status().message()));
  }
  header_ = *header;
  char tail[kTrailerBytes];
  const int64_t tail_offset = size - kTrailerBytes;
  status = file_->Read(tail_offset, sizeof(tail), tail);
  if (!status.ok()) return status;
  absl::StatusOr<uint64_t> index_offset = DecodeTrailer(tail);
  if (!index_offset.ok()) {
    return Damaged(tail_offset, std::string(index_offset.status().message()));
  }
  const auto offset = static_cast<int64_t>(*index_offset);
  if (offset < static_cast<int64_t>(PartHeader::kBytes) ||
      offset > tail_offset - static_cast<int64_t>(BlockHeader::kBytes)) {
    return Damaged(tail_offset, "the index lies outside of the file");
  }
  char block[BlockHeader::kBytes];
  status = file_->Read(offset, sizeof(block), block);
  if (!status.ok()) return status;
  absl::StatusOr<BlockHeader> index_header = DecodeBlockHeader(block);
  if (!index_header.ok()) {
    return Damaged(offset, std::string(index_header.status().message()));
  }
  const int64_t payload_begin = offset + static_cast<int64_t>(sizeof(block));
  if (index_header->kind != BlockKind::kIndex ||
      index_header->payload_bytes !=
          static_cast<uint64_t>(tail_offset - payload_begin)) {
    return Damaged(offset, "the index does not fill the end of the file");
  }
  std::string payload;
  status =
      ReadPayload({static_cast<uint64_t>(offset), *index_header}, &payload);
  if (!status.ok()) return status;
  absl::StatusOr<std::vector<BlockEntry>> index = DecodeIndex(payload);
  if (!index.ok()) {
    return Damaged(payload_begin, std::string(index.status().message()));
  }
  blocks_ = *std::move(index);
  uint64_t expected = PartHeader::kBytes;
  for (const BlockEntry& entry : blocks_) {
    // Blocks follow one another, so none can be missing or counted twice.
    if (entry.offset != expected ||
        entry.header.payload_bytes > static_cast<uint64_t>(offset) ||
        entry.offset + BlockHeader::kBytes + entry.header.payload_bytes >
            static_cast<uint64_t>(offset)) {
      return Damaged(
          offset, absl::StrCat("the index has a block at offset ", entry.offset,
                               " where ", expected, " is next"));
    }
    expected = entry.offset + BlockHeader::kBytes + entry.header.payload_bytes;
    status = CheckShape(entry);
    if (!status.ok()) return status;
    if (entry.header.kind != BlockKind::kTable) continue;
    status = ReadPayload(entry, &payload);
    if (!status.ok()) return status;
    absl::StatusOr<TablePrologue> table = DecodePrologue(payload);
    if (!table.ok()) {
      return Damaged(entry.offset, std::string(table.status().message()));
    }
    tables_.push_back(*std::move(table));
  }
  if (expected != static_cast<uint64_t>(offset)) {
    return Damaged(offset, "the index does not list every block");
  }
  return absl::OkStatus();
}

absl::Status PartReader::CheckShape(const BlockEntry& entry) const {
  const BlockHeader& block = entry.header;
  const auto offset = static_cast<int64_t>(entry.offset);
  if (block.first_partition > block.end_partition ||
      block.end_partition > kNumPartitions) {
    return Damaged(offset, absl::StrCat("a block has the partitions ",
                                        block.first_partition, " to ",
                                        block.end_partition));
  }
  uint64_t bytes_each = sizeof(int64_t);
  switch (block.kind) {
    case BlockKind::kTable:
      if (block.table == tables_.size()) return absl::OkStatus();
      return Damaged(offset, "tables are out of order");
    case BlockKind::kIndex:
      return Damaged(offset, "a block is a second index");
    case BlockKind::kRequests:
      break;
    case BlockKind::kRows:
    case BlockKind::kRemoved:
    case BlockKind::kFilter:
      if (block.table >= tables_.size()) {
        return Damaged(offset, "a block comes before its table");
      }
      if (block.kind == BlockKind::kRows) {
        bytes_each =
            kIdAndStampBytes + sizeof(float) * tables_[block.table].row_width;
      }
      break;
  }
  if (block.payload_bytes / bytes_each == block.count &&
      block.payload_bytes % bytes_each == 0) {
    return absl::OkStatus();
  }
  return Damaged(offset, absl::StrCat("a block of ", block.payload_bytes,
                                      " bytes can't hold ", block.count,
                                      " entries of ", bytes_each, " bytes"));
}

absl::Status PartReader::ReadPayload(const BlockEntry& block,
                                     std::string* payload) const {
  const auto offset = static_cast<int64_t>(block.offset);
  if (block.header.payload_bytes > static_cast<uint64_t>(file_->size())) {
    return Damaged(offset, "a block is longer than the file");
  }
  payload->resize(BlockHeader::kBytes + block.header.payload_bytes);
  const absl::Status status =
      file_->Read(offset, payload->size(), payload->data());
  if (!status.ok()) return status;
  if (Encode(block.header) != payload->substr(0, BlockHeader::kBytes)) {
    return Damaged(offset, "the header of a block differs from the index");
  }
  payload->erase(0, BlockHeader::kBytes);
  const uint32_t found = Crc32c(payload->data(), payload->size());
  if (found == block.header.payload_crc) return absl::OkStatus();
  return Damaged(offset, absl::StrCat("a block has CRC32C ", absl::Hex(found),
                                      ", its header says ",
                                      absl::Hex(block.header.payload_crc)));
}

absl::Status PartReader::ReadRequests(std::vector<int64_t>* requests) const {
  requests->clear();
  for (const BlockEntry& block : blocks_) {
    if (block.header.kind != BlockKind::kRequests) continue;
    std::string payload;
    const absl::Status status = ReadPayload(block, &payload);
    if (!status.ok()) return status;
    const std::vector<int64_t> numbers = NumbersOf(payload);
    requests->insert(requests->end(), numbers.begin(), numbers.end());
  }
  return absl::OkStatus();
}

absl::Status PartReader::Verify() const {
  return ForEach(static_cast<int64_t>(blocks_.size()), 2,
                 [&](int64_t i, Scratch* scratch) {
                   return ReadPayload(blocks_[i], &scratch->payload);
                 });
}

absl::StatusOr<PartReader::Counts> PartReader::ReadInto(
    TableSet* set, const Options& options) const {
  // The tables by their number in the file; null for those left out.
  std::vector<std::shared_ptr<Table>> tables(tables_.size());
  for (size_t t = 0; t < tables_.size(); ++t) {
    const TablePrologue& saved = tables_[t];
    if (!options.tables.empty() &&
        std::find(options.tables.begin(), options.tables.end(), saved.name) ==
            options.tables.end()) {
      continue;
    }
    absl::StatusOr<std::shared_ptr<Table>> table = set->Find(saved.name);
    if (!table.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path(), ": the file holds table '", saved.name,
          "', which the model does not have. Its tables: [",
          absl::StrJoin(set->TableNames(), ", "),
          "]. Name the tables to restore, or restore into the saved model."));
    }
    if ((*table)->row_width() != saved.row_width) {
      return absl::InvalidArgumentError(absl::StrCat(
          path(), ": rows of table '", saved.name, "' have ", saved.row_width,
          " floats in the file. Received: a table with ", (*table)->row_width(),
          ". Restore into a table with the dim and the optimizer that were "
          "saved."));
    }
    tables[t] = *std::move(table);
  }
  if (options.reads_state) {
    // Rows that were saved without times get the time of the clock.
    for (size_t t = 0; t < tables_.size(); ++t) {
      if (tables[t] == nullptr) continue;
      const Clock saved{tables_[t].global_step, tables_[t].event_time};
      const absl::Status status = tables[t]->SetClock(saved);
      if (!status.ok()) return status;
    }
  }
  std::atomic<int64_t> num_rows{0};
  std::atomic<int64_t> num_removed{0};
  const absl::Status status = ForEach(
      static_cast<int64_t>(blocks_.size()), options.num_threads,
      [&](int64_t i, Scratch* scratch) -> absl::Status {
        const BlockHeader& block = blocks_[i].header;
        if (block.kind != BlockKind::kRows &&
            block.kind != BlockKind::kRemoved &&
            block.kind != BlockKind::kFilter) {
          return absl::OkStatus();
        }
        if (block.kind == BlockKind::kFilter && !options.reads_state) {
          return absl::OkStatus();
        }
        Table* const table = tables[block.table].get();
        if (table == nullptr || !Concerns(*set, block)) {
          return absl::OkStatus();
        }
        const absl::Status read = ReadPayload(blocks_[i], &scratch->payload);
        if (!read.ok()) return read;
        if (block.kind == BlockKind::kFilter) {
          return table->ImportFilter(
              static_cast<int>(block.first_partition) * kNumGroups /
                  kNumPartitions,
              NumbersOf(scratch->payload),
              [set](int64_t id) { return Owns(*set, id); });
        }
        if (block.kind == BlockKind::kRemoved) {
          const std::vector<int64_t> ids = NumbersOf(scratch->payload);
          num_removed += table->Remove(ids.data(), ids.size());
          return absl::OkStatus();
        }
        TakeOwned(*set, static_cast<int64_t>(block.count),
                  tables_[block.table].row_width, scratch);
        num_rows += scratch->ids.size();
        return table->Import(scratch->ids.data(), scratch->stamps.data(),
                             scratch->rows.data(), scratch->ids.size());
      });
  if (!status.ok()) return status;
  return Counts{num_rows.load(), num_removed.load()};
}

}  // namespace monolith_tf
