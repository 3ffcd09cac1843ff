#include "ops/cc/table/cuckoo_index.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/prefetch.h"

namespace monolith_tf {
namespace {

uint64_t LowBits(uint64_t probe, int num_bits) {
  return num_bits >= 64 ? probe : probe & ((uint64_t{1} << num_bits) - 1);
}

int LevelOf(uint32_t num_buckets) { return 31 - __builtin_clz(num_buckets); }

// How many of ten bits are set, without an instruction that not all machines
// have.
int NumBits(uint32_t bits) {
  bits = (bits & 0x155) + (bits >> 1 & 0x155);
  bits = (bits & 0x333) + (bits >> 2 & 0x333);
  return static_cast<int>((bits & 15) + (bits >> 4 & 15) + (bits >> 8));
}

}  // namespace

uint32_t CuckooIndex::CandidateInStash(uint64_t hash) const {
  for (const auto& entry : stash_) {
    if (entry.first == hash) return entry.second;
  }
  return kNoHandle;
}

bool CuckooIndex::InsertEntry(uint64_t hash, uint32_t handle,
                              const Rows& rows) {
  bool has_memory = true;
  if (size_ >= max_size_) {
    // Without memory for a bucket the others may still have room.
    has_memory = Split(rows);
    if (shape().n == 0) return false;
    if (!stash_.empty()) PlaceStashed(rows);
  }
  const Entry entry{hash, 64, TagOf(hash), handle};
  if (!Place(entry, rows)) {
    if (!has_memory) return false;
    stash_.emplace_back(hash, handle);
  }
  ++size_;
  return true;
}

void CuckooIndex::EraseEntry(uint64_t hash, uint32_t handle, const Rows& rows) {
  const Location location = Locate(hash, handle);
  if (location.place >= 0) {
    location.bucket->tags[location.place] = 0;
  } else {
    for (auto& entry : stash_) {
      if (entry.second != handle) continue;
      entry = stash_.back();
      stash_.pop_back();
      break;
    }
  }
  --size_;
  if (size_ == 0 && min_buckets_ == 0) {
    Clear();
  } else if (size_ < min_size_ && shape().n > min_buckets_) {
    Join(rows);
  }
}

void CuckooIndex::Replace(uint64_t hash, uint32_t old_handle,
                          uint32_t new_handle) {
  const Location location = Locate(hash, old_handle);
  if (location.place >= 0) {
    location.bucket->handles[location.place] = new_handle;
    return;
  }
  for (auto& entry : stash_) {
    if (entry.second == old_handle) entry.second = new_handle;
  }
}

CuckooIndex::Location CuckooIndex::Locate(uint64_t hash,
                                          uint32_t handle) const {
  const uint16_t tag = TagOf(hash);
  for (const uint64_t probe : {hash, OtherProbe(hash, tag)}) {
    Bucket& bucket = At(shape().BucketOf(probe));
    for (uint32_t bits = MatchTags(bucket, tag); bits != 0; bits &= bits - 1) {
      const int place = __builtin_ctz(bits);
      if (bucket.handles[place] == handle) return {&bucket, place};
    }
  }
  return {nullptr, -1};
}

bool CuckooIndex::IsInFirst(uint64_t hash, uint32_t handle) const {
  return Locate(hash, handle).bucket == &At(shape().BucketOf(hash));
}

CuckooIndex::Entry CuckooIndex::EntryAt(uint32_t bucket, int place) const {
  const Bucket& from = At(bucket);
  const int begin = MoreBegin(bucket);
  const uint64_t more = from.more >> (kMoreBits * place) & 7;
  return {LowBits(bucket, begin) | more << begin, begin + kMoreBits,
          from.tags[place], from.handles[place]};
}

void CuckooIndex::Complete(Entry* entry, const Rows& rows) {
  const uint64_t hash = rows.hash_of(entry->handle);
  const bool is_first = LowBits(hash ^ entry->probe, entry->num_bits) == 0;
  entry->probe = is_first ? hash : OtherProbe(hash, entry->tag);
  entry->num_bits = 64;
}

void CuckooIndex::Put(uint32_t bucket, int place, Entry entry,
                      const Rows& rows) {
  const int begin = MoreBegin(bucket);
  if (begin + kMoreBits > entry.num_bits) Complete(&entry, rows);
  Bucket& to = At(bucket);
  const int shift = kMoreBits * place;
  to.tags[place] = entry.tag;
  to.handles[place] = entry.handle;
  to.more = (to.more & ~(7u << shift)) |
            static_cast<uint32_t>(entry.probe >> begin & 7) << shift;
}

bool CuckooIndex::Place(const Entry& entry, const Rows& rows) {
  Entry other = entry;
  other.probe = OtherProbe(entry.probe, entry.tag);
  const uint32_t first = shape().BucketOf(entry.probe);
  const uint32_t second = shape().BucketOf(other.probe);
  const uint32_t first_free = FreePlaces(At(first));
  const uint32_t second_free = FreePlaces(At(second));
  if ((first_free | second_free) == 0) {
    return PlaceBySearch(entry, first, second, rows);
  }
  const int num_first_free = NumBits(first_free);
  if (num_first_free > kReservedEntries ||
      num_first_free >= NumBits(second_free)) {
    Put(first, __builtin_ctz(first_free), entry, rows);
  } else {
    Put(second, __builtin_ctz(second_free), other, rows);
  }
  return true;
}

bool CuckooIndex::PlaceBySearch(const Entry& entry, uint32_t first,
                                uint32_t second, const Rows& rows) {
  // A full bucket, reached by moving the entry in `place` of the parent.
  struct Node {
    uint32_t bucket;
    int parent;
    int place;
  };
  const Shape shape = this->shape();
  Node nodes[kMaxSearchNodes];
  int num_nodes = 0;
  nodes[num_nodes++] = {first, -1, -1};
  if (second != first) nodes[num_nodes++] = {second, -1, -1};
  for (int current = 0; current < num_nodes; ++current) {
    const uint32_t bucket = nodes[current].bucket;
    uint32_t others[kEntriesPerBucket];
    for (int place = 0; place < kEntriesPerBucket; ++place) {
      const Entry moved = EntryAt(bucket, place);
      others[place] = shape.BucketOf(OtherProbe(moved.probe, moved.tag));
      PrefetchLine(&At(others[place]));
    }
    for (int place = 0; place < kEntriesPerBucket; ++place) {
      const uint32_t other = others[place];
      const uint32_t free = FreePlaces(At(other));
      if (free == 0) {
        // A chain must not come back to a bucket that it changes.
        bool is_in_chain = false;
        for (int node = current; node >= 0; node = nodes[node].parent) {
          is_in_chain = is_in_chain || nodes[node].bucket == other;
        }
        if (!is_in_chain && num_nodes < kMaxSearchNodes) {
          nodes[num_nodes++] = {other, current, place};
        }
        continue;
      }
      // Move the chain's entries, the last one first.
      uint32_t target = other;
      int target_place = __builtin_ctz(free);
      int source_place = place;
      int node = current;
      for (; node >= 0; node = nodes[node].parent) {
        const uint32_t source = nodes[node].bucket;
        Entry moved = EntryAt(source, source_place);
        moved.probe = OtherProbe(moved.probe, moved.tag);
        Put(target, target_place, moved, rows);
        target = source;
        target_place = source_place;
        source_place = nodes[node].place;
      }
      Entry placed = entry;
      if (target != first) placed.probe = OtherProbe(entry.probe, entry.tag);
      Put(target, target_place, placed, rows);
      return true;
    }
  }
  return false;
}

void CuckooIndex::PlaceStashed(const Rows& rows) {
  const auto [hash, handle] = stash_.back();
  if (Place({hash, 64, TagOf(hash), handle}, rows)) stash_.pop_back();
}

bool CuckooIndex::Split(const Rows& rows) {
  const uint32_t n = shape().n;
  if (n == capacity_ && !AddChunk()) return false;
  Bucket& added = At(n);
  std::memset(&added, 0, sizeof(added));
  if (n == 0) {
    SetNumBuckets(1);
    return true;
  }
  const uint32_t split = n - (uint32_t{1} << level_);
  Bucket& bucket = At(split);
  Entry entries[kEntriesPerBucket];
  for (int place = 0; place < kEntriesPerBucket; ++place) {
    entries[place] = EntryAt(split, place);
  }
  SetNumBuckets(n + 1);
  const int begin = MoreBegin(split);
  int num_moved = 0;
  for (int place = 0; place < kEntriesPerBucket; ++place) {
    Entry& entry = entries[place];
    if (entry.tag == 0) continue;
    if (begin + kMoreBits > entry.num_bits) Complete(&entry, rows);
    if (shape().BucketOf(entry.probe) == n) {
      bucket.tags[place] = 0;
      Put(n, num_moved++, entry, rows);
    } else {
      Put(split, place, entry, rows);
    }
  }
  PrefetchSplit(rows);
  return true;
}

void CuckooIndex::PrefetchSplit(const Rows& rows) const {
  const uint32_t n = shape().n;
  const uint32_t next = n - (uint32_t{1} << level_);
  if (more_begin_if_split_ != more_begin_) {
    const Bucket& bucket = At(next);
    for (int place = 0; place < kEntriesPerBucket; ++place) {
      if (bucket.tags[place] != 0) rows.prefetch(bucket.handles[place]);
    }
  }
  if (n + 1 < capacity_) {
    PrefetchLine(&At(next + 1));
    PrefetchLine(&At(n + 1));
  }
}

void CuckooIndex::Join(const Rows& rows) {
  const uint32_t n = shape().n - 1;
  if (n == 0) return;
  const uint32_t joined = n - (uint32_t{1} << LevelOf(n));
  Bucket& last = At(n);
  Entry kept[kEntriesPerBucket];
  Entry moved[kEntriesPerBucket];
  for (int place = 0; place < kEntriesPerBucket; ++place) {
    kept[place] = EntryAt(joined, place);
    moved[place] = EntryAt(n, place);
  }
  std::memset(&last, 0, sizeof(last));
  SetNumBuckets(n);
  for (int place = 0; place < kEntriesPerBucket; ++place) {
    if (kept[place].tag != 0) Put(joined, place, kept[place], rows);
  }
  for (const Entry& entry : moved) {
    if (entry.tag == 0 || Place(entry, rows)) continue;
    stash_.emplace_back(rows.hash_of(entry.handle), entry.handle);
  }
  // For the next join.
  PrefetchLine(&At(n - 1));
  if (joined > 0) PrefetchLine(&At(joined - 1));
  // Not at once, for an index that grows and shrinks by a few buckets.
  if (capacity_ > kChunkBuckets) {
    if (capacity_ - n < kChunkBuckets * 3 / 2) return;
    chunks_.pop_back();
    capacity_ -= kChunkBuckets;
  } else if (capacity_ > kMinBuckets && 4 * n <= capacity_) {
    SetFirstChunk(capacity_ / 2);
  }
}

uint32_t CuckooIndex::NumBucketsFor(int64_t num_entries) const {
  // Of a level that holds them, no more than are needed.
  uint32_t level_size = 1;
  while (MaxSizeOf(2 * level_size) < num_entries) level_size *= 2;
  const int64_t missing = num_entries - MaxSizeOf(level_size);
  uint32_t n = level_size;
  if (missing > 0) {
    n += static_cast<uint32_t>(std::min<int64_t>(
        level_size, (missing + kInsertsPerSplit - 1) / kInsertsPerSplit));
  }
  return n;
}

std::vector<MemoryPool::Slab> CuckooIndex::MakeChunks(
    int64_t num_entries) const {
  std::vector<MemoryPool::Slab> chunks;
  if (num_entries <= 0) return chunks;
  for (uint32_t n = NumBucketsFor(num_entries); n >= kChunkBuckets;
       n -= kChunkBuckets) {
    chunks.push_back(pool_->Allocate(kChunkBuckets * sizeof(Bucket)));
    if (chunks.back().empty()) {
      chunks.pop_back();
      break;
    }
    std::memset(chunks.back().data(), 0, kChunkBuckets * sizeof(Bucket));
  }
  return chunks;
}

bool CuckooIndex::Reserve(int64_t num_entries,
                          std::vector<MemoryPool::Slab> chunks) {
  if (num_entries <= 0) return true;
  const uint32_t n = NumBucketsFor(num_entries);
  for (MemoryPool::Slab& chunk : chunks) {
    SetChunk(chunks_.size(), chunk.data());
    chunks_.push_back(std::move(chunk));
    capacity_ += kChunkBuckets;
  }
  const uint32_t num_made = capacity_;
  while (capacity_ < n) {
    if (!AddChunk()) return false;
  }
  for (uint32_t bucket = num_made; bucket < n; ++bucket) {
    std::memset(&At(bucket), 0, sizeof(Bucket));
  }
  SetNumBuckets(n);
  min_buckets_ = n;
  return true;
}

bool CuckooIndex::AddChunk() {
  if (capacity_ < kChunkBuckets) {
    return SetFirstChunk(std::max(kMinBuckets, 2 * capacity_));
  }
  MemoryPool::Slab chunk = pool_->Allocate(kChunkBuckets * sizeof(Bucket));
  if (chunk.empty()) return false;
  SetChunk(chunks_.size(), chunk.data());
  chunks_.push_back(std::move(chunk));
  capacity_ += kChunkBuckets;
  return true;
}

bool CuckooIndex::SetFirstChunk(uint32_t num_buckets) {
  MemoryPool::Slab chunk =
      pool_->Allocate(size_t{num_buckets} * sizeof(Bucket));
  if (chunk.empty()) return false;
  if (chunks_.empty()) {
    chunks_.emplace_back();
  } else {
    std::memcpy(chunk.data(), chunks_[0].data(),
                size_t{std::min(shape().n, num_buckets)} * sizeof(Bucket));
  }
  SetChunk(0, chunk.data());
  chunks_[0] = std::move(chunk);
  capacity_ = num_buckets;
  return true;
}

bool CuckooIndex::MoveChunk() {
  // A part of a chunk has memory of its own.
  if (capacity_ < kChunkBuckets) return false;
  const size_t number = hand_ < chunks_.size() ? hand_ : 0;
  hand_ = number + 1;
  MemoryPool::Slab place = pool_->AllocateBefore(chunks_[number]);
  if (place.empty()) return false;
  std::memcpy(place.data(), chunks_[number].data(),
              kChunkBuckets * sizeof(Bucket));
  SetChunk(number, place.data());
  chunks_[number] = std::move(place);
  return true;
}

void CuckooIndex::SetChunk(size_t number, char* data) {
  if (number >= directory_size_) {
    const size_t size = 2 * directory_size_;
    auto directory = std::make_unique<std::atomic<uintptr_t>[]>(size);
    for (size_t i = 0; i < directory_size_; ++i) {
      directory[i].store(directory_.load(std::memory_order_relaxed)[i].load(
                             std::memory_order_relaxed),
                         std::memory_order_relaxed);
    }
    directory_.store(directory.get(), std::memory_order_relaxed);
    directories_.push_back(std::move(directory));
    directory_size_ = size;
  }
  directory_.load(std::memory_order_relaxed)[number].store(
      reinterpret_cast<uintptr_t>(data) -
          number * kChunkBuckets * sizeof(Bucket),
      std::memory_order_relaxed);
}

int64_t CuckooIndex::MaxSizeOf(uint32_t num_buckets) const {
  if (num_buckets == 0) return 0;
  const int64_t level_size = int64_t{1} << LevelOf(num_buckets);
  return static_cast<int64_t>(
             static_cast<double>(level_size * kEntriesPerBucket) * max_load_) +
         kInsertsPerSplit * (num_buckets - level_size);
}

int CuckooIndex::MoreBeginOf(int bits) const {
  // A third of the stripes read rows at any level.
  return std::max(bits - (bits + stripe_) % kMoreBits, 0);
}

void CuckooIndex::SetNumBuckets(uint32_t num_buckets) {
  max_size_ = MaxSizeOf(num_buckets);
  // Far from that of a bucket less, or the two would alternate.
  min_size_ = num_buckets <= 1 ? 0 : MaxSizeOf(num_buckets - 1) / 4 * 3;
  level_ = num_buckets == 0 ? 0 : LevelOf(num_buckets);
  more_begin_ = MoreBeginOf(level_);
  more_begin_if_split_ = MoreBeginOf(level_ + 1);
  const uint64_t mask = (uint64_t{2} << level_) - 1;
  // After the directory that it needs.
  shape_.store(mask << 32 | num_buckets, std::memory_order_release);
}

std::vector<MemoryPool::Slab> CuckooIndex::Clear() {
  SetNumBuckets(0);
  size_ = 0;
  capacity_ = 0;
  min_buckets_ = 0;
  // Not `= {}`: that is an empty initializer list, which keeps the capacity.
  stash_ = std::vector<std::pair<uint64_t, uint32_t>>();
  return std::exchange(chunks_, {});
}

int64_t CuckooIndex::memory_bytes() const {
  size_t bytes = stash_.capacity() * sizeof(stash_[0]) +
                 chunks_.capacity() * sizeof(chunks_[0]) +
                 2 * (directory_size_ - kMinDirectory) * sizeof(directory_);
  for (const MemoryPool::Slab& chunk : chunks_) {
    bytes += chunk.ResidentBytes(0);
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace monolith_tf
