// free_ranges.h
//
// Free ranges of memory by position: finds the lowest one that is long enough.
//
// A treap: a search tree by position whose nodes know the longest range below
// them. Every method is O(log n), for the n ranges, and allocates nothing but
// the places of nodes, at their largest number. Not thread-safe.

#ifndef MONOLITH_TF_OPS_CC_MEMORY_FREE_RANGES_H_
#define MONOLITH_TF_OPS_CC_MEMORY_FREE_RANGES_H_

#include <cstdint>
#include <vector>

namespace monolith_tf {

class FreeRanges {
 public:
  struct Range {
    uint64_t begin = 0;
    // 0: there is none.
    uint64_t length = 0;

    uint64_t end() const { return begin + length; }
    bool empty() const { return length == 0; }
  };

  // The lowest range of at least `length` > 0 that begins at `from` or later.
  Range Find(uint64_t length, uint64_t from = 0) const {
    return RangeOf(FindBelow(root_, length, from));
  }
  // The last range that begins at `position` or before.
  Range Before(uint64_t position) const;

  // Adds a range that overlaps none.
  void Insert(uint64_t begin, uint64_t length);
  // Removes the range that begins there.
  void Erase(uint64_t begin);

 private:
  static constexpr uint32_t kNull = 0;

  struct Node {
    Range range;
    // Of the node and all below it.
    uint64_t longest = 0;
    // No node below it has a higher one.
    uint32_t priority = 0;
    uint32_t left = kNull;
    uint32_t right = kNull;
  };

  Range RangeOf(uint32_t node) const {
    return node == kNull ? Range() : nodes_[node].range;
  }
  uint32_t FindBelow(uint32_t node, uint64_t length, uint64_t from) const;
  void Update(uint32_t node);
  // Splits a tree into the nodes before `begin` and the others.
  void Split(uint32_t node, uint64_t begin, uint32_t* before, uint32_t* after);
  // Joins two trees, of which one is before the other.
  uint32_t Join(uint32_t before, uint32_t after);
  uint32_t InsertBelow(uint32_t node, uint32_t added);
  uint32_t EraseBelow(uint32_t node, uint64_t begin);

  // The first is no node.
  std::vector<Node> nodes_{1};
  std::vector<uint32_t> unused_;
  uint32_t root_ = kNull;
  uint32_t random_ = 2463534242;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_MEMORY_FREE_RANGES_H_
