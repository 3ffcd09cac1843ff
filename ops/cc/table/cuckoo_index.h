// cuckoo_index.h
//
// Where a stripe finds the row of an id: a bucketised cuckoo hash table of
// 16-bit tags and 32-bit row handles. The caller compares ids in the rows; a
// tag alone never decides.
//
// A bucket, one cache line
//
//   0                    20                                     60    64
//   +--------------------+--------------------------------------+-----+
//   | tag [10], 0: empty | handle [10]                          | pad |
//   +--------------------+--------------------------------------+-----+
//
// The hash (64 bits, keyed per process)
//
//   63      58 57      42 41                                          0
//   +---------+----------+---------------------------------------------+
//   | stripe  | tag      | first bucket (its low bits)                 |
//   +---------+----------+---------------------------------------------+
//
// An entry lies in its first bucket or in first ^ Spread(tag), so the other
// bucket of an entry follows from its bucket and tag, without the id. Spread
// is odd: the two differ whenever there are two buckets.
//
// Insert takes the first bucket if that has room, so that most are found in the
// first; else the second; when both are full it searches breadth-first, over at
// most kMaxSearchNodes buckets, for a chain of entries that can each move to
// their other bucket. When that fails in an array that is at least half full,
// the array doubles; in an emptier or already growing one the entry goes to a
// stash that every search looks through. So an insert never loops, never drops,
// and hashes that meet cannot blow memory up.
//
// Growth is incremental. The old array stays beside the new one of twice the
// size; every Insert moves kBucketsPerInsert old buckets, so the old one is
// empty long before the new one fills (load then about 0.55). Meanwhile
// entries are looked for in both. An emptied old array is handed to the
// caller (TakeRetired) to be freed outside the lock.
//
// Capacity shrinks on Clear() only. Not thread-safe, but for Prefetch.

#ifndef MONOLITH_TF_OPS_CC_TABLE_CUCKOO_INDEX_H_
#define MONOLITH_TF_OPS_CC_TABLE_CUCKOO_INDEX_H_

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "ops/cc/table/memory_block.h"
#include "ops/cc/table/prefetch.h"
#include "ops/cc/table/row_arena.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace monolith_tf {

class CuckooIndex {
 public:
  static constexpr int kSlots = 10;
  // Old buckets that one Insert moves while the index grows.
  static constexpr int kBucketsPerInsert = 1;
  // Buckets that the search for a free slot looks at.
  static constexpr int kMaxSearchNodes = 256;

  // Grows when more than `max_load` of the slots are taken. Above 0.94 the
  // search for a free slot gets long.
  explicit CuckooIndex(float max_load = 0.9375f) : max_load_(max_load) {}
  CuckooIndex(const CuckooIndex&) = delete;
  CuckooIndex& operator=(const CuckooIndex&) = delete;

  // Stripes fill evenly. Different loads keep them from growing all at once.
  static float MaxLoadOf(int stripe) {
    return 0.9375f - 0.0015f * static_cast<float>(stripe & 63);
  }

  static int StripeOf(uint64_t hash) { return static_cast<int>(hash >> 58); }

  // The handle of the entry with this hash for which matches(handle) holds,
  // or kNoHandle.
  template <typename Matches>
  uint32_t Find(uint64_t hash, const Matches& matches) const;

  // The first handle whose tag fits, unverified, or kNoHandle when surely no
  // entry has this hash.
  uint32_t Candidate(uint64_t hash) const {
    return Find(hash, [](uint32_t) { return true; });
  }

  // Adds an entry that is not there. `hash_of(handle)` gives the hash of any
  // entry. False when memory ends: then nothing was added.
  template <typename HashOf>
  bool Insert(uint64_t hash, uint32_t handle, const HashOf& hash_of);

  // Gives the entry (hash, old_handle), which is there, another handle.
  void Replace(uint64_t hash, uint32_t old_handle, uint32_t new_handle);
  // Whether the entry (hash, handle), which is there, lies in its first bucket.
  bool IsInFirst(uint64_t hash, uint32_t handle) const;

  // Takes out the entry (hash, handle), which is there.
  void Erase(uint64_t hash, uint32_t handle);

  // Moves up to `num_buckets` old buckets, if the index is growing.
  template <typename HashOf>
  void MoveBuckets(int num_buckets, const HashOf& hash_of);

  // Empties the index. Its memory goes to `garbage`, to be destroyed where
  // nobody waits.
  void Clear(std::vector<MemoryBlock>* garbage);

  // Starts to bring both buckets of `hash` into the cache; while the index
  // grows, those of both arrays. A guess: safe without the lock, beside any
  // other call.
  void Prefetch(uint64_t hash) const {
    PrefetchIn(hint_, hash);
    PrefetchIn(old_hint_, hash);
  }

  bool is_growing() const { return old_.buckets != nullptr; }
  // Old buckets that are still to be moved.
  int64_t num_buckets_to_move() const {
    return is_growing() ? static_cast<int64_t>(old_.mask + 1 - num_moved_) : 0;
  }
  int64_t num_buckets() const { return static_cast<int64_t>(NumBuckets()); }
  int64_t size() const { return size_; }
  int64_t stash_size() const { return static_cast<int64_t>(stash_.size()); }
  int64_t memory_bytes() const;

  // The emptied old array of the last growth, to be destroyed where nobody
  // waits; mostly empty.
  MemoryBlock TakeRetired() { return std::move(retired_); }

 private:
  struct alignas(64) Bucket {
    uint16_t tags[kSlots];
    uint32_t handles[kSlots];
  };
  static_assert(sizeof(Bucket) == 64, "one cache line");

  struct Array {
    MemoryBlock memory;
    Bucket* buckets = nullptr;
    uint64_t mask = 0;
  };

  // For Prefetch: an array, perhaps a moment ago; base 0 is none.
  struct Hint {
    void Set(const Array& array) {
      base.store(reinterpret_cast<uintptr_t>(array.buckets),
                 std::memory_order_relaxed);
      mask.store(array.mask, std::memory_order_relaxed);
    }
    std::atomic<uintptr_t> base{0};
    std::atomic<uint64_t> mask{0};
  };

  static void PrefetchIn(const Hint& hint, uint64_t hash) {
    const uintptr_t base = hint.base.load(std::memory_order_relaxed);
    if (base == 0) return;
    const uint64_t mask = hint.mask.load(std::memory_order_relaxed);
    const uint64_t first = hash & mask;
    const uint64_t second = (first ^ Spread(TagOf(hash))) & mask;
    PrefetchLine(reinterpret_cast<const void*>(base + first * sizeof(Bucket)));
    PrefetchLine(reinterpret_cast<const void*>(base + second * sizeof(Bucket)));
  }

  static uint16_t TagOf(uint64_t hash) {
    const uint16_t tag = static_cast<uint16_t>(hash >> 42);
    return tag == 0 ? 1 : tag;
  }
  static uint64_t Spread(uint16_t tag) {
    return ((tag * 0x9E3779B97F4A7C15ULL) >> 20) | 1;
  }

  // One bit a slot whose tag is `tag`.
  static uint32_t MatchTags(const Bucket& bucket, uint16_t tag) {
#if defined(__SSE2__)
    const __m128i* words = reinterpret_cast<const __m128i*>(&bucket);
    const __m128i wanted = _mm_set1_epi16(static_cast<int16_t>(tag));
    const __m128i low = _mm_cmpeq_epi16(_mm_load_si128(words), wanted);
    const __m128i high = _mm_cmpeq_epi16(_mm_load_si128(words + 1), wanted);
    // The second word holds tags 8 and 9, then handles.
    return static_cast<uint32_t>(
               _mm_movemask_epi8(_mm_packs_epi16(low, high))) &
           ((1u << kSlots) - 1);
#else
    uint32_t bits = 0;
    for (int slot = 0; slot < kSlots; ++slot) {
      bits |= static_cast<uint32_t>(bucket.tags[slot] == tag) << slot;
    }
    return bits;
#endif
  }
  static uint32_t FreeSlots(const Bucket& bucket) {
    return MatchTags(bucket, 0);
  }

  template <typename Matches>
  static uint32_t FindInBucket(const Bucket& bucket, uint16_t tag,
                               const Matches& matches) {
    for (uint32_t bits = MatchTags(bucket, tag); bits != 0; bits &= bits - 1) {
      const uint32_t handle = bucket.handles[__builtin_ctz(bits)];
      if (matches(handle)) return handle;
    }
    return kNoHandle;
  }
  template <typename Matches>
  static uint32_t FindInArray(const Array& array, uint64_t hash,
                              const Matches& matches) {
    const uint16_t tag = TagOf(hash);
    const uint64_t first = hash & array.mask;
    const uint32_t handle = FindInBucket(array.buckets[first], tag, matches);
    if (handle != kNoHandle) return handle;
    return FindInBucket(array.buckets[(first ^ Spread(tag)) & array.mask], tag,
                        matches);
  }

  uint64_t NumBuckets() const {
    return array_.buckets == nullptr ? 0 : array_.mask + 1;
  }

  static bool EraseFromArray(const Array& array, uint64_t hash,
                             uint32_t handle);
  // Puts an entry into array_, moving others if need be; false when it finds
  // no place.
  bool Place(uint64_t hash, uint32_t handle);
  bool PlaceBySearch(uint16_t tag, uint64_t first, uint64_t second,
                     uint32_t handle);
  // Replaces array_ by one of twice the size and keeps it as old_; false when
  // memory ends. Not while growing.
  bool StartGrowth();
  void FinishGrowth();
  bool InsertWithoutMoving(uint64_t hash, uint32_t handle);

  const float max_load_;
  Array array_;
  Array old_;
  // Old buckets [0, num_moved_) are empty.
  uint64_t num_moved_ = 0;
  int64_t size_ = 0;
  // Entries that found no place: (hash, handle).
  std::vector<std::pair<uint64_t, uint32_t>> stash_;
  MemoryBlock retired_;
  Hint hint_;      // Of array_.
  Hint old_hint_;  // Of old_.
};

template <typename Matches>
uint32_t CuckooIndex::Find(uint64_t hash, const Matches& matches) const {
  if (array_.buckets == nullptr) return kNoHandle;
  uint32_t handle = FindInArray(array_, hash, matches);
  if (handle != kNoHandle) return handle;
  if (is_growing()) {
    handle = FindInArray(old_, hash, matches);
    if (handle != kNoHandle) return handle;
  }
  for (const auto& entry : stash_) {
    if (entry.first == hash && matches(entry.second)) return entry.second;
  }
  return kNoHandle;
}

template <typename HashOf>
bool CuckooIndex::Insert(uint64_t hash, uint32_t handle,
                         const HashOf& hash_of) {
  if (is_growing()) MoveBuckets(kBucketsPerInsert, hash_of);
  return InsertWithoutMoving(hash, handle);
}

template <typename HashOf>
void CuckooIndex::MoveBuckets(int num_buckets, const HashOf& hash_of) {
  if (!is_growing()) return;
  for (int i = 0; i < num_buckets && num_moved_ <= old_.mask; ++i) {
    Bucket& bucket = old_.buckets[num_moved_++];
    // All new buckets are on their way before the first is written.
    uint64_t hashes[kSlots];
    for (int slot = 0; slot < kSlots; ++slot) {
      if (bucket.tags[slot] == 0) continue;
      hashes[slot] = hash_of(bucket.handles[slot]);
      PrefetchIn(hint_, hashes[slot]);
    }
    for (int slot = 0; slot < kSlots; ++slot) {
      if (bucket.tags[slot] == 0) continue;
      const uint32_t handle = bucket.handles[slot];
      if (!Place(hashes[slot], handle)) {
        stash_.emplace_back(hashes[slot], handle);
      }
      bucket.tags[slot] = 0;
    }
  }
  if (num_moved_ > old_.mask) {
    FinishGrowth();
    return;
  }
  // The rows that the next call reads the ids of.
  const Bucket& next = old_.buckets[num_moved_];
  for (int slot = 0; slot < kSlots; ++slot) {
    if (next.tags[slot] != 0) hash_of.Prefetch(next.handles[slot]);
  }
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_CUCKOO_INDEX_H_
