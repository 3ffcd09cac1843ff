// touched_log.h
//
// A log of the ids that changed since a stripe's last cut, in blocks: an append
// copies nothing, so its longest pause is the allocation of a block. Not
// thread-safe.

#ifndef MONOLITH_TF_OPS_CC_TABLE_TOUCHED_LOG_H_
#define MONOLITH_TF_OPS_CC_TABLE_TOUCHED_LOG_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace monolith_tf {

class TouchedLog {
 public:
  // Returns how many bytes of memory it took for the id and those that follow,
  // mostly 0.
  int64_t Append(int64_t id) {
    int64_t taken = 0;
    if (blocks_.empty() || blocks_.back().size() == block_ids_) {
      // Small tables have many stripes and short logs: blocks start small.
      if (!blocks_.empty() && block_ids_ < kMaxBlockIds) block_ids_ *= 2;
      blocks_.emplace_back();
      blocks_.back().reserve(block_ids_);
      taken = static_cast<int64_t>(block_ids_ * sizeof(int64_t));
      taken_ += taken;
    }
    blocks_.back().push_back(id);
    return taken;
  }

  // What all calls of Append returned.
  int64_t taken_bytes() const { return taken_; }

  // Appends the ids to `ids`, in order.
  void CopyTo(std::vector<int64_t>* ids) const {
    for (const std::vector<int64_t>& block : blocks_) {
      ids->insert(ids->end(), block.begin(), block.end());
    }
  }

  int64_t memory_bytes() const {
    int64_t bytes = blocks_.capacity() * sizeof(blocks_[0]);
    for (const std::vector<int64_t>& block : blocks_) {
      bytes += block.capacity() * sizeof(int64_t);
    }
    return bytes;
  }

 private:
  static constexpr size_t kMinBlockIds = 16;
  static constexpr size_t kMaxBlockIds = 4096;

  std::vector<std::vector<int64_t>> blocks_;
  // Capacity of the last block.
  size_t block_ids_ = kMinBlockIds;
  int64_t taken_ = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_TOUCHED_LOG_H_
