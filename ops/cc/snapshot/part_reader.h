// part_reader.h
//
// Reads part files back into the tables of a set. A file is checked before the
// first row changes: header, trailer, index, and that every table fits. Each
// block's checksum is verified before the block is applied.

#ifndef MONOLITH_TF_OPS_CC_SNAPSHOT_PART_READER_H_
#define MONOLITH_TF_OPS_CC_SNAPSHOT_PART_READER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ops/cc/snapshot/part_format.h"
#include "ops/cc/storage/file.h"
#include "ops/cc/table/table_set.h"

namespace monolith_tf {

class PartReader {
 public:
  // How rows are read back.
  struct Options {
    // Tables to read; the file's others are left out. Empty for all.
    std::vector<std::string> tables;
    // Whether to read the clock, the filter and the requests: those of the last
    // file of a chain hold.
    bool reads_state = true;
    int num_threads = 2;
  };

  // What one call of ReadInto read.
  struct Counts {
    int64_t num_rows = 0;
    int64_t num_removed = 0;
  };

  // Opens and checks a file. DataLoss that names the file and what is wrong.
  static absl::StatusOr<std::unique_ptr<PartReader>> Open(
      std::unique_ptr<FileReader> file);

  const std::string& path() const { return file_->path(); }
  const PartHeader& header() const { return header_; }
  const std::vector<TablePrologue>& tables() const { return tables_; }
  const std::vector<BlockEntry>& blocks() const { return blocks_; }

  // Fills `requests` with the high-water marks, none if the file has none.
  absl::Status ReadRequests(std::vector<int64_t>* requests) const;

  // Imports what the shard of `set` owns: sets rows, removes what an increment
  // removed. Rows that are not named stay. InvalidArgument if a table is not in
  // the set or has rows of another length, before anything changes; DataLoss
  // for a damaged block, after others were applied.
  absl::StatusOr<Counts> ReadInto(TableSet* set, const Options& options) const;

  // Reads and checks every block without applying it.
  absl::Status Verify() const;

 private:
  explicit PartReader(std::unique_ptr<FileReader> file)
      : file_(std::move(file)) {}

  absl::Status ReadIndex();
  absl::Status Damaged(int64_t offset, const std::string& what) const;
  // Reads the payload of a block and checks it.
  absl::Status ReadPayload(const BlockEntry& block, std::string* payload) const;
  // That sizes in a header of a block agree with one another.
  absl::Status CheckShape(const BlockEntry& block) const;

  const std::unique_ptr<FileReader> file_;
  PartHeader header_;
  std::vector<BlockEntry> blocks_;
  std::vector<TablePrologue> tables_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_SNAPSHOT_PART_READER_H_
