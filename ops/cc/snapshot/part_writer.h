// part_writer.h
//
// Writes a snapshot of a table set to a part file, while updates continue.
//
// Memory: about kBufferBytes of buffers, whatever the size of the tables; the
// copies of rows that change meanwhile (TableSetSnapshot::kMaxCopiedBytes); and
// 8 bytes per row of the stripes in hand, each a 64th of a table.

#ifndef MONOLITH_TF_OPS_CC_SNAPSHOT_PART_WRITER_H_
#define MONOLITH_TF_OPS_CC_SNAPSHOT_PART_WRITER_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/cc/storage/file.h"
#include "ops/cc/table/table_set_snapshot.h"

namespace monolith_tf {

// What was written, for the manifest.
struct PartSummary {
  int64_t bytes = 0;
  // Of the whole file.
  uint32_t crc = 0;
  int64_t num_rows = 0;
  int64_t num_removed = 0;
  int64_t max_copied_bytes = 0;
};

class PartWriter {
 public:
  static constexpr int64_t kBufferBytes = int64_t{24} << 20;
  static constexpr int kMaxThreads = 4;

  // Writes and syncs the whole of `snapshot` under the snapshot's `id`, with up
  // to `num_threads` threads, and closes the file. Aborted if a table was
  // cleared or restored meanwhile, if rows change faster than they are written,
  // or once `is_cancelled` is true.
  static absl::StatusOr<PartSummary> Write(
      TableSetSnapshot* snapshot, const std::array<uint8_t, 16>& id,
      int num_threads, const std::atomic<bool>& is_cancelled, FileWriter* file);
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SNAPSHOT_PART_WRITER_H_
