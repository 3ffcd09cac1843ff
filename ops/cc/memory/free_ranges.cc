#include "ops/cc/memory/free_ranges.h"

#include <algorithm>
#include <cstdint>

namespace monolith_tf {

void FreeRanges::Update(uint32_t node) {
  Node& at = nodes_[node];
  at.longest = std::max(
      {at.range.length, nodes_[at.left].longest, nodes_[at.right].longest});
}

uint32_t FreeRanges::FindBelow(uint32_t node, uint64_t length,
                               uint64_t from) const {
  while (node != kNull && nodes_[node].longest >= length) {
    const Node& at = nodes_[node];
    if (at.range.begin >= from) {
      const uint32_t lower = FindBelow(at.left, length, from);
      if (lower != kNull) return lower;
      if (at.range.length >= length) return node;
    }
    node = at.right;
  }
  return kNull;
}

FreeRanges::Range FreeRanges::Before(uint64_t position) const {
  uint32_t found = kNull;
  for (uint32_t node = root_; node != kNull;) {
    if (nodes_[node].range.begin <= position) {
      found = node;
      node = nodes_[node].right;
    } else {
      node = nodes_[node].left;
    }
  }
  return RangeOf(found);
}

void FreeRanges::Split(uint32_t node, uint64_t begin, uint32_t* before,
                       uint32_t* after) {
  if (node == kNull) {
    *before = *after = kNull;
    return;
  }
  uint32_t inner = kNull;
  if (nodes_[node].range.begin < begin) {
    Split(nodes_[node].right, begin, &inner, after);
    nodes_[node].right = inner;
    *before = node;
  } else {
    Split(nodes_[node].left, begin, before, &inner);
    nodes_[node].left = inner;
    *after = node;
  }
  Update(node);
}

uint32_t FreeRanges::Join(uint32_t before, uint32_t after) {
  if (before == kNull) return after;
  if (after == kNull) return before;
  if (nodes_[before].priority >= nodes_[after].priority) {
    nodes_[before].right = Join(nodes_[before].right, after);
    Update(before);
    return before;
  }
  nodes_[after].left = Join(before, nodes_[after].left);
  Update(after);
  return after;
}

uint32_t FreeRanges::InsertBelow(uint32_t node, uint32_t added) {
  if (node == kNull || nodes_[node].priority < nodes_[added].priority) {
    Node& at = nodes_[added];
    Split(node, at.range.begin, &at.left, &at.right);
    Update(added);
    return added;
  }
  Node& at = nodes_[node];
  if (nodes_[added].range.begin < at.range.begin) {
    at.left = InsertBelow(at.left, added);
  } else {
    at.right = InsertBelow(at.right, added);
  }
  Update(node);
  return node;
}

uint32_t FreeRanges::EraseBelow(uint32_t node, uint64_t begin) {
  if (node == kNull) return kNull;
  Node& at = nodes_[node];
  if (at.range.begin == begin) {
    unused_.push_back(node);
    return Join(at.left, at.right);
  }
  if (begin < at.range.begin) {
    at.left = EraseBelow(at.left, begin);
  } else {
    at.right = EraseBelow(at.right, begin);
  }
  Update(node);
  return node;
}

void FreeRanges::Insert(uint64_t begin, uint64_t length) {
  uint32_t added;
  if (unused_.empty()) {
    added = static_cast<uint32_t>(nodes_.size());
    nodes_.emplace_back();
  } else {
    added = unused_.back();
    unused_.pop_back();
  }
  // Xorshift: any sequence without a pattern makes a shallow tree.
  random_ ^= random_ << 13;
  random_ ^= random_ >> 17;
  random_ ^= random_ << 5;
  nodes_[added] = {{begin, length}, length, random_, kNull, kNull};
  root_ = InsertBelow(root_, added);
}

void FreeRanges::Erase(uint64_t begin) { root_ = EraseBelow(root_, begin); }

}  // namespace monolith_tf
