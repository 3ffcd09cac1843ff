// part_format.h
//
// A part file: the rows of one shard in a snapshot. docs/formats.md specifies
// the bytes. All numbers are little-endian.
//
//   header | block ... | index | trailer
//
// Every block belongs to one table and one range of partitions, so a reader
// takes only those that it owns. The index lists the blocks; a file without it
// was not finished.

#ifndef MONOLITH_TF_OPS_CC_SNAPSHOT_PART_FORMAT_H_
#define MONOLITH_TF_OPS_CC_SNAPSHOT_PART_FORMAT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace monolith_tf {

inline constexpr char kPartMagic[9] = "MTFPART\n";
inline constexpr char kPartEndMagic[9] = "MTFPEND\n";
inline constexpr uint32_t kPartVersion = 1;

struct PartHeader {
  static constexpr size_t kBytes = 72;

  uint32_t shard = 0;
  uint32_t num_shards = 1;
  // Of the snapshot.
  std::array<uint8_t, 16> id{};
  int64_t generation = 0;
  // -1 for a full snapshot.
  int64_t from_cut = -1;
  int64_t to_cut = 0;
};

enum class BlockKind : uint32_t {
  // One per table, before its other blocks (TablePrologue).
  kTable = 1,
  // ids int64 [count], stamps int64 [count], floats [count, row_width].
  kRows = 2,
  // int64 [count]: ids without a row; increments only.
  kRemoved = 3,
  // int64 [count]: what admission remembers of a checkpoint group.
  kFilter = 4,
  // int64 [count]: high-water marks of requests; of no table.
  kRequests = 5,
  // BlockEntry [count]; last.
  kIndex = 6,
};

struct BlockHeader {
  static constexpr size_t kBytes = 40;

  BlockKind kind = BlockKind::kRows;
  // Number of the table, from 0.
  uint32_t table = 0;
  // Partitions of the ids: [first_partition, end_partition).
  uint32_t first_partition = 0;
  uint32_t end_partition = 0;
  uint64_t count = 0;
  uint64_t payload_bytes = 0;
  uint32_t payload_crc = 0;
};

// Where a block begins.
struct BlockEntry {
  static constexpr size_t kBytes = 8 + BlockHeader::kBytes;

  uint64_t offset = 0;
  BlockHeader header;
};

// The payload of a kTable block.
struct TablePrologue {
  std::string name;
  int64_t row_width = 0;
  bool is_full = true;
  int64_t global_step = 0;
  int64_t event_time = 0;
  // Rows of the table on this shard at the moment.
  int64_t num_rows = 0;
};

std::string Encode(const PartHeader& header);
std::string Encode(const BlockHeader& header);
std::string Encode(const std::vector<BlockEntry>& index);
std::string Encode(const TablePrologue& prologue);
// The end of a file whose index block begins at `index_offset`.
inline constexpr size_t kTrailerBytes = 24;
std::string EncodeTrailer(uint64_t index_offset);

// Decoders. DataLoss that says what is wrong, without the file's name.
// `data` has the size of the struct's kBytes, or kTrailerBytes.
absl::StatusOr<PartHeader> DecodePartHeader(const char* data);
absl::StatusOr<BlockHeader> DecodeBlockHeader(const char* data);
absl::StatusOr<uint64_t> DecodeTrailer(const char* data);
absl::StatusOr<std::vector<BlockEntry>> DecodeIndex(const std::string& payload);
absl::StatusOr<TablePrologue> DecodePrologue(const std::string& payload);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SNAPSHOT_PART_FORMAT_H_
