#include "ops/cc/snapshot/part_format.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/storage/crc32c.h"

namespace monolith_tf {
namespace {

constexpr size_t kMagicBytes = 8;

template <typename T>
void Put(T value, std::string* out) {
  // Every machine that TensorFlow runs on is little-endian.
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
T Get(const char** data) {
  T value;
  std::memcpy(&value, *data, sizeof(value));
  *data += sizeof(value);
  return value;
}

void PutCrc(std::string* out) { Put(Crc32c(out->data(), out->size()), out); }

absl::Status CheckCrc(const char* what, const char* data, size_t size) {
  const char* end = data + size;
  const auto expected = Get<uint32_t>(&end);
  const uint32_t found = Crc32c(data, size);
  if (found == expected) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the ", what, " has CRC32C ",
                                          absl::Hex(found), ", its bytes say ",
                                          absl::Hex(expected)));
}

void PutFields(const BlockHeader& header, std::string* out) {
  Put(static_cast<uint32_t>(header.kind), out);
  Put(header.table, out);
  Put(header.first_partition, out);
  Put(header.end_partition, out);
  Put(header.count, out);
  Put(header.payload_bytes, out);
  Put(header.payload_crc, out);
}

absl::StatusOr<BlockHeader> GetFields(const char* data) {
  BlockHeader header;
  const auto kind = Get<uint32_t>(&data);
  if (kind < static_cast<uint32_t>(BlockKind::kTable) ||
      kind > static_cast<uint32_t>(BlockKind::kIndex)) {
    return absl::DataLossError(
        absl::StrCat("a block has the unknown kind ", kind));
  }
  header.kind = static_cast<BlockKind>(kind);
  header.table = Get<uint32_t>(&data);
  header.first_partition = Get<uint32_t>(&data);
  header.end_partition = Get<uint32_t>(&data);
  header.count = Get<uint64_t>(&data);
  header.payload_bytes = Get<uint64_t>(&data);
  header.payload_crc = Get<uint32_t>(&data);
  return header;
}

}  // namespace

std::string Encode(const PartHeader& header) {
  std::string out(kPartMagic, kMagicBytes);
  Put(kPartVersion, &out);
  Put(header.shard, &out);
  Put(header.num_shards, &out);
  Put(uint32_t{0}, &out);
  out.append(reinterpret_cast<const char*>(header.id.data()), header.id.size());
  Put(header.generation, &out);
  Put(header.from_cut, &out);
  Put(header.to_cut, &out);
  Put(uint32_t{0}, &out);
  PutCrc(&out);
  return out;
}

absl::StatusOr<PartHeader> DecodePartHeader(const char* data) {
  if (std::memcmp(data, kPartMagic, kMagicBytes) != 0) {
    return absl::DataLossError("it is not a part of a snapshot");
  }
  const char* next = data + kMagicBytes;
  const auto version = Get<uint32_t>(&next);
  if (version != kPartVersion) {
    return absl::DataLossError(absl::StrCat("it has version ", version,
                                            ", and this program reads version ",
                                            kPartVersion));
  }
  const absl::Status status =
      CheckCrc("header", data, PartHeader::kBytes - sizeof(uint32_t));
  if (!status.ok()) return status;
  PartHeader header;
  header.shard = Get<uint32_t>(&next);
  header.num_shards = Get<uint32_t>(&next);
  next += sizeof(uint32_t);
  std::memcpy(header.id.data(), next, header.id.size());
  next += header.id.size();
  header.generation = Get<int64_t>(&next);
  header.from_cut = Get<int64_t>(&next);
  header.to_cut = Get<int64_t>(&next);
  if (header.num_shards == 0 || header.shard >= header.num_shards) {
    return absl::DataLossError(absl::StrCat("it is of shard ", header.shard,
                                            " of ", header.num_shards));
  }
  return header;
}

std::string Encode(const BlockHeader& header) {
  std::string out;
  PutFields(header, &out);
  PutCrc(&out);
  return out;
}

absl::StatusOr<BlockHeader> DecodeBlockHeader(const char* data) {
  const absl::Status status =
      CheckCrc("header of a block", data, BlockHeader::kBytes - 4);
  if (!status.ok()) return status;
  return GetFields(data);
}

std::string Encode(const std::vector<BlockEntry>& index) {
  std::string out;
  out.reserve(index.size() * BlockEntry::kBytes);
  for (const BlockEntry& entry : index) {
    Put(entry.offset, &out);
    out += Encode(entry.header);
  }
  return out;
}

absl::StatusOr<std::vector<BlockEntry>> DecodeIndex(
    const std::string& payload) {
  if (payload.size() % BlockEntry::kBytes != 0) {
    return absl::DataLossError("the index ends within an entry");
  }
  std::vector<BlockEntry> index(payload.size() / BlockEntry::kBytes);
  const char* next = payload.data();
  for (BlockEntry& entry : index) {
    entry.offset = Get<uint64_t>(&next);
    absl::StatusOr<BlockHeader> header = DecodeBlockHeader(next);
    if (!header.ok()) return header.status();
    entry.header = *header;
    next += BlockHeader::kBytes;
  }
  return index;
}

std::string EncodeTrailer(uint64_t index_offset) {
  std::string out(kPartEndMagic, kMagicBytes);
  Put(index_offset, &out);
  Put(uint32_t{0}, &out);
  PutCrc(&out);
  return out;
}

absl::StatusOr<uint64_t> DecodeTrailer(const char* data) {
  if (std::memcmp(data, kPartEndMagic, kMagicBytes) != 0) {
    return absl::DataLossError("its end is missing: it was not finished");
  }
  const absl::Status status =
      CheckCrc("trailer", data, kTrailerBytes - sizeof(uint32_t));
  if (!status.ok()) return status;
  data += kMagicBytes;
  return Get<uint64_t>(&data);
}

std::string Encode(const TablePrologue& prologue) {
  std::string out;
  Put(static_cast<uint32_t>(prologue.name.size()), &out);
  Put(static_cast<uint32_t>(prologue.is_full ? 1 : 0), &out);
  Put(prologue.row_width, &out);
  Put(prologue.global_step, &out);
  Put(prologue.event_time, &out);
  Put(prologue.num_rows, &out);
  out += prologue.name;
  return out;
}

absl::StatusOr<TablePrologue> DecodePrologue(const std::string& payload) {
  constexpr size_t kFixedBytes = 40;
  const char* next = payload.data();
  if (payload.size() < kFixedBytes) {
    return absl::DataLossError("the description of a table is cut short");
  }
  TablePrologue prologue;
  const auto name_bytes = Get<uint32_t>(&next);
  prologue.is_full = Get<uint32_t>(&next) == 1;
  prologue.row_width = Get<int64_t>(&next);
  prologue.global_step = Get<int64_t>(&next);
  prologue.event_time = Get<int64_t>(&next);
  prologue.num_rows = Get<int64_t>(&next);
  if (payload.size() - kFixedBytes != name_bytes || prologue.row_width < 1) {
    return absl::DataLossError("the description of a table is malformed");
  }
  prologue.name.assign(next, name_bytes);
  return prologue;
}

}  // namespace monolith_tf
