#include "ops/cc/table/cuckoo_index.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "ops/cc/table/memory_block.h"

namespace monolith_tf {
bool CuckooIndex::InsertWithoutMoving(uint64_t hash, uint32_t handle) {
  const int64_t capacity = num_buckets() * kSlots;
  if (!is_growing() && static_cast<float>(size_ + 1) >
                           static_cast<float>(capacity) * max_load_) {
    // Without memory for a larger array the present one may still have room.
    if (!StartGrowth() && capacity == 0) return false;
  }
  if (!stash_.empty() && Place(stash_.back().first, stash_.back().second)) {
    stash_.pop_back();
  }
  if (!Place(hash, handle)) {
    const bool is_half_full = 2 * size_ >= num_buckets() * kSlots;
    if (!is_growing() && is_half_full && !StartGrowth()) return false;
    if (!Place(hash, handle)) stash_.emplace_back(hash, handle);
  }
  ++size_;
  return true;
}

bool CuckooIndex::EraseFromArray(const Array& array, uint64_t hash,
                                 uint32_t handle) {
  if (array.buckets == nullptr) return false;
  const uint16_t tag = TagOf(hash);
  const uint64_t first = hash & array.mask;
  for (const uint64_t place : {first, (first ^ Spread(tag)) & array.mask}) {
    Bucket& bucket = array.buckets[place];
    for (uint32_t bits = MatchTags(bucket, tag); bits != 0; bits &= bits - 1) {
      const int slot = __builtin_ctz(bits);
      if (bucket.handles[slot] == handle) {
        bucket.tags[slot] = 0;
        return true;
      }
    }
  }
  return false;
}

void CuckooIndex::Erase(uint64_t hash, uint32_t handle) {
  --size_;
  if (EraseFromArray(array_, hash, handle)) return;
  if (EraseFromArray(old_, hash, handle)) return;
  for (auto& entry : stash_) {
    if (entry.second == handle) {
      entry = stash_.back();
      stash_.pop_back();
      return;
    }
  }
}

void CuckooIndex::Replace(uint64_t hash, uint32_t old_handle,
                          uint32_t new_handle) {
  const uint16_t tag = TagOf(hash);
  for (const Array* array : {&array_, &old_}) {
    if (array->buckets == nullptr) continue;
    const uint64_t first = hash & array->mask;
    for (const uint64_t place : {first, (first ^ Spread(tag)) & array->mask}) {
      Bucket& bucket = array->buckets[place];
      for (uint32_t bits = MatchTags(bucket, tag); bits != 0;
           bits &= bits - 1) {
        uint32_t& handle = bucket.handles[__builtin_ctz(bits)];
        if (handle != old_handle) continue;
        handle = new_handle;
        return;
      }
    }
  }
  for (auto& entry : stash_) {
    if (entry.second == old_handle) entry.second = new_handle;
  }
}

bool CuckooIndex::IsInFirst(uint64_t hash, uint32_t handle) const {
  return FindInBucket(array_.buckets[hash & array_.mask], TagOf(hash),
                      [handle](uint32_t found) { return found == handle; }) ==
         handle;
}

bool CuckooIndex::Place(uint64_t hash, uint32_t handle) {
  const uint16_t tag = TagOf(hash);
  const uint64_t first = hash & array_.mask;
  const uint64_t second = (first ^ Spread(tag)) & array_.mask;
  const uint32_t first_free = FreeSlots(array_.buckets[first]);
  const uint32_t second_free = FreeSlots(array_.buckets[second]);
  if ((first_free | second_free) == 0) {
    return PlaceBySearch(tag, first, second, handle);
  }
  const bool takes_first = first_free != 0;
  Bucket& bucket = array_.buckets[takes_first ? first : second];
  const int slot = __builtin_ctz(takes_first ? first_free : second_free);
  bucket.tags[slot] = tag;
  bucket.handles[slot] = handle;
  return true;
}

bool CuckooIndex::PlaceBySearch(uint16_t tag, uint64_t first, uint64_t second,
                                uint32_t handle) {
  // A full bucket, reached by moving the entry in `slot` of the parent.
  struct Node {
    uint64_t bucket;
    int parent;
    int slot;
  };
  Node nodes[kMaxSearchNodes];
  int num_nodes = 0;
  nodes[num_nodes++] = {first, -1, -1};
  if (second != first) nodes[num_nodes++] = {second, -1, -1};
  for (int current = 0; current < num_nodes; ++current) {
    const Bucket& bucket = array_.buckets[nodes[current].bucket];
    for (int slot = 0; slot < kSlots; ++slot) {
      const uint64_t other =
          (nodes[current].bucket ^ Spread(bucket.tags[slot])) & array_.mask;
      const uint32_t free = FreeSlots(array_.buckets[other]);
      if (free == 0) {
        // A chain must not come back to a bucket that it changes.
        bool is_in_chain = false;
        for (int node = current; node >= 0; node = nodes[node].parent) {
          is_in_chain = is_in_chain || nodes[node].bucket == other;
        }
        if (!is_in_chain && num_nodes < kMaxSearchNodes) {
          nodes[num_nodes++] = {other, current, slot};
        }
        continue;
      }
      // Move the chain's entries, the last one first.
      Bucket* target = &array_.buckets[other];
      int target_slot = __builtin_ctz(free);
      int source_slot = slot;
      for (int node = current; node >= 0; node = nodes[node].parent) {
        Bucket& source = array_.buckets[nodes[node].bucket];
        target->tags[target_slot] = source.tags[source_slot];
        target->handles[target_slot] = source.handles[source_slot];
        target = &source;
        target_slot = source_slot;
        source_slot = nodes[node].slot;
      }
      target->tags[target_slot] = tag;
      target->handles[target_slot] = handle;
      return true;
    }
  }
  return false;
}

bool CuckooIndex::StartGrowth() {
  const uint64_t num_buckets = array_.buckets == nullptr ? 1 : 2 * NumBuckets();
  MemoryBlock memory = MemoryBlock::Allocate(num_buckets * sizeof(Bucket));
  if (memory.empty()) return false;
  std::memset(memory.data(), 0, num_buckets * sizeof(Bucket));
  old_ = std::move(array_);
  num_moved_ = 0;
  array_.buckets = reinterpret_cast<Bucket*>(memory.data());
  array_.memory = std::move(memory);
  array_.mask = num_buckets - 1;
  hint_.Set(array_);
  old_hint_.Set(old_);
  return true;
}

void CuckooIndex::FinishGrowth() {
  retired_ = std::move(old_.memory);
  old_ = Array();
  old_hint_.Set(old_);
}

void CuckooIndex::Clear(std::vector<MemoryBlock>* garbage) {
  garbage->push_back(std::move(array_.memory));
  garbage->push_back(std::move(old_.memory));
  garbage->push_back(std::move(retired_));
  array_ = Array();
  old_ = Array();
  size_ = 0;
  stash_ = {};
  // Prefetching freed memory would be harmless, but useless.
  hint_.Set(array_);
  old_hint_.Set(old_);
}

int64_t CuckooIndex::memory_bytes() const {
  return static_cast<int64_t>(array_.memory.bytes() + old_.memory.bytes() +
                              retired_.bytes() +
                              stash_.capacity() * sizeof(stash_[0]));
}

}  // namespace monolith_tf
