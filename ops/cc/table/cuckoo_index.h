// cuckoo_index.h
//
// The index of a stripe, from ids to handles of rows: a bucketized cuckoo hash
// table of 16-bit tags and 32-bit handles, which grows and shrinks by one
// bucket at a time. The caller compares ids in the rows; a tag alone never
// decides.
//
// A bucket, one cache line
//
//   0                    20                                     60     64
//   +--------------------+--------------------------------------+------+
//   | tag [10], 0: empty | handle [10]                          | more |
//   +--------------------+--------------------------------------+------+
// A search compares all ten tags at once, in two SSE2 registers, which every
// x86-64 has (elsewhere in a loop). Wider registers have nothing more to
// compare, and a dispatch at run time, as the loops over rows have it
// (instruction_set.h), would put a call into the shortest loop there is.
//
// The hash (64 bits, keyed per process)
//
//   63      58 57      42 41                                          0
//   +---------+----------+---------------------------------------------+
//   | stripe  | tag      | first bucket (its low bits)                 |
//   +---------+----------+---------------------------------------------+
//
// An entry has two probes, hash and hash ^ Spread(tag), and lies in the bucket
// that one of them names. Spread is odd: the two buckets differ whenever there
// are two.
//
// # Which bucket a probe names
//
// As in linear hashing (Litwin 1980). With n = 2^level + split buckets, the
// buckets [0, split) of the level were split in two, the others not yet:
//
//    0        split           2^level          n
//    +---------+---------------+---------------+
//    |  split  |  not split    | other halves  |
//    +---------+---------------+---------------+
//      level+1     level bits       level+1 bits of the probe
//
// To grow by a bucket, the entries of bucket `split` whose probe has the next
// bit set move to bucket n; to shrink, they move back. So there is one array,
// no copy to another one, and no insert pays for more than one bucket.
// Splitting starts when a level is full to max_load, and continues with every
// kInsertsPerSplit-th insert: buckets that are not split yet get twice the
// entries of the others, and the slower they are split, the more inserts find
// only full ones (splitting with every 9th insert keeps the load higher, at
// half the speed). The load is thus 0.88 when splitting starts and 0.59 when a
// level is done; an index that shrinks starts at 3/4 of these.
//
// The rest of an entry's probe follows from the id in its row. `more` keeps
// three more bits per place, from the last multiple of three on that is not
// above the bits of its bucket (shifted by the stripe's number, so that stripes
// differ). They suffice for up to three splits, so two of three splits read no
// row.
//
// # Insert
//
// Takes the first bucket while more than kReservedEntries of it are free, so
// that most are found there; else the emptier of the two, which keeps all about
// equally full: few inserts find both full. Those search breadth-first, over at
// most kMaxSearchNodes buckets, for a chain of entries that can each move to
// their other bucket. If that fails, the entry goes to a stash that every
// search scans. So an insert never loops and never drops an entry, and
// colliding hashes cannot exhaust memory.
//
// # Memory
//
// Buckets lie in chunks of kChunkBuckets from the table's pool; a small index
// has part of one. 64 bytes per bucket: 7.3 bytes per entry if a level is
// full, 10.9 if it was just split, and half a chunk per stripe.
//
// Not thread-safe, except for PrefetchFirst.

#ifndef MONOLITH_TF_OPS_CC_TABLE_CUCKOO_INDEX_H_
#define MONOLITH_TF_OPS_CC_TABLE_CUCKOO_INDEX_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/attributes.h"
#include "absl/base/optimization.h"
#include "absl/functional/function_ref.h"
#include "ops/cc/memory/memory_pool.h"
#include "ops/cc/memory/prefetch.h"
#include "ops/cc/table/row_arena.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace monolith_tf {

class CuckooIndex {
 public:
  static constexpr int kEntriesPerBucket = 10;
  static constexpr int kChunkBuckets = 256;
  // The most buckets that one Insert splits, and that one Erase joins.
  static constexpr int kBucketsPerInsert = 1;
  static constexpr int kBucketsPerErase = 1;
  // Free places of a bucket that are kept for entries whose first bucket is
  // full: without them the second choice would come too late.
  static constexpr int kReservedEntries = 2;
  // Buckets that the search for a free place looks at.
  static constexpr int kMaxSearchNodes = 256;
  // Inserts for each split while a level is being split.
  static constexpr int kInsertsPerSplit = 3;
  // Above 0.93 the search for a free place gets long.
  static constexpr float kMaxLoad = 0.87f;

  // `pool` outlives the index. A level is split once `max_load` of its places
  // are taken. Stripes of different numbers read rows at different levels.
  explicit CuckooIndex(MemoryPool* pool, int stripe = 0,
                       float max_load = kMaxLoad)
      : pool_(pool), stripe_(stripe), max_load_(max_load) {}
  CuckooIndex(const CuckooIndex&) = delete;
  CuckooIndex& operator=(const CuckooIndex&) = delete;

  // Stripes fill evenly. Different loads, 0.82 to 0.92, keep them from
  // splitting all at once.
  static float MaxLoadOf(int stripe) {
    return 0.82f + 0.0016f * static_cast<float>(stripe & 63);
  }

  // Stripes of a table, 0 .. kNumStripes - 1: the upper bits of a hash.
  static constexpr int kNumStripes = 64;
  static int StripeOf(uint64_t hash) { return static_cast<int>(hash >> 58); }

  // The handle of the entry with this hash for which matches(handle) holds,
  // or kNoHandle.
  template <typename Matches>
  uint32_t Find(uint64_t hash, const Matches& matches) const;

  // Returns the handle of an entry with the tag of `hash`, unverified, in the
  // first bucket, or in the second one and the stash; kNoHandle if no entry
  // there has this hash. Two thirds of the entries are in their first bucket.
  ABSL_ATTRIBUTE_ALWAYS_INLINE uint32_t CandidateInFirst(uint64_t hash) const {
    const Shape shape = this->shape();
    if (ABSL_PREDICT_FALSE(shape.n == 0)) return kNoHandle;
    return CandidateIn(At(shape.BucketOf(hash)), TagOf(hash));
  }
  ABSL_ATTRIBUTE_ALWAYS_INLINE uint32_t CandidateInSecond(uint64_t hash) const {
    const Shape shape = this->shape();
    if (ABSL_PREDICT_FALSE(shape.n == 0)) return kNoHandle;
    const uint16_t tag = TagOf(hash);
    const uint32_t candidate =
        CandidateIn(At(shape.BucketOf(OtherProbe(hash, tag))), tag);
    return ABSL_PREDICT_TRUE(stash_.empty()) || candidate != kNoHandle
               ? candidate
               : CandidateInStash(hash);
  }

  // Insert and Erase read the hashes of some other entries: hash_of(handle)
  // returns that of an entry; hash_of.Prefetch(handle) announces the call.

  // Adds an entry that is not present. Returns false, and adds nothing, if
  // there is no memory.
  template <typename HashOf>
  bool Insert(uint64_t hash, uint32_t handle, const HashOf& hash_of) {
    const auto prefetch = [&hash_of](uint32_t of) { hash_of.Prefetch(of); };
    return InsertEntry(hash, handle, Rows{hash_of, prefetch});
  }
  // Removes the entry (hash, handle), which must be present.
  template <typename HashOf>
  void Erase(uint64_t hash, uint32_t handle, const HashOf& hash_of) {
    const auto prefetch = [&hash_of](uint32_t of) { hash_of.Prefetch(of); };
    EraseEntry(hash, handle, Rows{hash_of, prefetch});
  }

  // Replaces the handle of the entry (hash, old_handle), which must be present.
  void Replace(uint64_t hash, uint32_t old_handle, uint32_t new_handle);

  // Moves the next chunk of buckets, cyclically, to a lower place in the pool,
  // if there is one. Returns whether it moved.
  bool MoveChunk();
  int64_t num_chunks() const { return static_cast<int64_t>(chunks_.size()); }

  // Allocates the buckets that `num_entries` <= 2^31 fill without a split, and
  // keeps them until Clear. The index must be empty. Returns false if there is
  // no memory. Much faster if the caller made `chunks` before, with MakeChunks.
  bool Reserve(int64_t num_entries, std::vector<MemoryPool::Slab> chunks = {});
  // Allocates memory for Reserve, as far as there is some. Thread-safe.
  std::vector<MemoryPool::Slab> MakeChunks(int64_t num_entries) const;

  // Empties the index. Returns its memory, for destruction without a lock.
  std::vector<MemoryPool::Slab> Clear();

  // Prefetches the first or the second bucket of `hash`. PrefetchFirst is a
  // guess: it is thread-safe.
  void PrefetchFirst(uint64_t hash) const {
    const Shape shape(shape_.load(std::memory_order_acquire));
    if (shape.n == 0) return;
    PrefetchLine(
        reinterpret_cast<const void*>(AddressOf(shape.BucketOf(hash))));
  }
  void PrefetchSecond(uint64_t hash) const {
    const Shape shape = this->shape();
    if (shape.n == 0) return;
    PrefetchLine(&At(shape.BucketOf(OtherProbe(hash, TagOf(hash)))));
  }

  int64_t num_buckets() const { return shape().n; }
  int64_t size() const { return size_; }
  int64_t stash_size() const { return static_cast<int64_t>(stash_.size()); }
  float max_load() const { return max_load_; }
  int64_t memory_bytes() const;

  // Whether the entry (hash, handle), which must be present, is in its first
  // bucket. For metrics.
  bool IsInFirst(uint64_t hash, uint32_t handle) const;

 private:
  struct alignas(64) Bucket {
    uint16_t tags[kEntriesPerBucket];
    uint32_t handles[kEntriesPerBucket];
    // Three bits per place.
    uint32_t more;
  };
  static_assert(sizeof(Bucket) == 64, "one cache line");

  static constexpr int kMoreBits = 3;
  static constexpr int kChunkBits = 8;
  static_assert(1 << kChunkBits == kChunkBuckets, "chunks are found by shifts");
  // Chunks that need no separate directory.
  static constexpr size_t kMinDirectory = 4;
  // The first size of the first chunk.
  static constexpr uint32_t kMinBuckets = 4;

  // An entry with the low `num_bits` of its probe for the bucket it lies in.
  struct Entry {
    uint64_t probe;
    int num_bits;
    uint16_t tag;
    uint32_t handle;
  };
  struct Rows {
    absl::FunctionRef<uint64_t(uint32_t)> hash_of;
    absl::FunctionRef<void(uint32_t)> prefetch;
  };

  static uint16_t TagOf(uint64_t hash) {
    const uint16_t tag = static_cast<uint16_t>(hash >> 42);
    return tag == 0 ? 1 : tag;
  }
  static uint64_t OtherProbe(uint64_t probe, uint16_t tag) {
    return probe ^ (((tag * 0x9E3779B97F4A7C15ULL) >> 20) | 1);
  }

  // How many buckets there are, n < 2^32, and 2 * 2^level - 1; in one number,
  // so that Prefetch sees a pair.
  struct Shape {
    explicit Shape(uint64_t packed)
        : n(static_cast<uint32_t>(packed)),
          mask(static_cast<uint32_t>(packed >> 32)) {}
    // The bucket, of n > 0, that a probe of an entry names.
    uint32_t BucketOf(uint64_t probe) const {
      const uint32_t bucket = static_cast<uint32_t>(probe) & mask;
      return bucket < n ? bucket : bucket & (mask >> 1);
    }
    uint32_t n;
    uint32_t mask;
  };
  Shape shape() const { return Shape(shape_.load(std::memory_order_relaxed)); }
  // Where the bits that `more` keeps in a bucket begin.
  int MoreBegin(uint32_t bucket) const {
    const uint32_t size = uint32_t{1} << level_;
    return bucket >= size || bucket < shape().n - size ? more_begin_if_split_
                                                       : more_begin_;
  }

  uintptr_t AddressOf(uint32_t bucket) const {
    return directory_.load(std::memory_order_relaxed)[bucket >> kChunkBits]
               .load(std::memory_order_relaxed) +
           uint64_t{bucket} * sizeof(Bucket);
  }
  Bucket& At(uint32_t bucket) const {
    return *reinterpret_cast<Bucket*>(AddressOf(bucket));
  }

  // Returns a bit per place whose tag is `tag`.
  static uint32_t MatchTags(const Bucket& bucket, uint16_t tag) {
#if defined(__SSE2__)
    const __m128i* halves = reinterpret_cast<const __m128i*>(&bucket);
    const __m128i wanted = _mm_set1_epi16(static_cast<int16_t>(tag));
    const __m128i low = _mm_cmpeq_epi16(_mm_load_si128(halves), wanted);
    const __m128i high = _mm_cmpeq_epi16(_mm_load_si128(halves + 1), wanted);
    // The second half holds tags 8 and 9, then handles.
    return static_cast<uint32_t>(
               _mm_movemask_epi8(_mm_packs_epi16(low, high))) &
           ((1u << kEntriesPerBucket) - 1);
#else
    uint32_t bits = 0;
    for (int place = 0; place < kEntriesPerBucket; ++place) {
      bits |= static_cast<uint32_t>(bucket.tags[place] == tag) << place;
    }
    return bits;
#endif
  }
  // Returns the handle at the first place whose tag is `tag`. Has no branch,
  // because it could not be predicted.
  ABSL_ATTRIBUTE_ALWAYS_INLINE static uint32_t CandidateIn(const Bucket& bucket,
                                                           uint16_t tag) {
    const uint32_t matches = MatchTags(bucket, tag);
    const uint32_t handle =
        bucket.handles[__builtin_ctz(matches | 1u << (kEntriesPerBucket - 1))];
    return matches != 0 ? handle : kNoHandle;
  }
  static uint32_t FreePlaces(const Bucket& bucket) {
    return MatchTags(bucket, 0);
  }

  uint32_t CandidateInStash(uint64_t hash) const;
  bool InsertEntry(uint64_t hash, uint32_t handle, const Rows& rows);
  void EraseEntry(uint64_t hash, uint32_t handle, const Rows& rows);
  // The location of (hash, handle); place -1 if it is not in a bucket.
  struct Location {
    Bucket* bucket;
    int place;
  };
  Location Locate(uint64_t hash, uint32_t handle) const;

  Entry EntryAt(uint32_t bucket, int place) const;
  // Writes an entry to a place of the bucket that its probe names. Reads the
  // row when the entry has too few bits.
  void Put(uint32_t bucket, int place, Entry entry, const Rows& rows);
  // Completes the probe of an entry from its row.
  static void Complete(Entry* entry, const Rows& rows);
  // Puts an entry into one of its buckets, moving others if necessary. Returns
  // false if it finds no place.
  bool Place(const Entry& entry, const Rows& rows);
  bool PlaceBySearch(const Entry& entry, uint32_t first, uint32_t second,
                     const Rows& rows);
  // Puts the last entry of the stash into a bucket, if it finds a place.
  void PlaceStashed(const Rows& rows);

  // Adds or removes the last bucket.
  bool Split(const Rows& rows);
  void Join(const Rows& rows);
  // Prefetches what the next split reads.
  void PrefetchSplit(const Rows& rows) const;
  // Allocates a chunk. Returns false if there is no memory.
  bool AddChunk();
  bool SetFirstChunk(uint32_t num_buckets);
  void SetChunk(size_t number, char* data);
  // Buckets that so many entries > 0 fill without a split.
  uint32_t NumBucketsFor(int64_t num_entries) const;
  // The size at which this number of buckets is too few.
  int64_t MaxSizeOf(uint32_t num_buckets) const;
  void SetNumBuckets(uint32_t num_buckets);

  // The first bit that `more` keeps in a bucket of `bits` bits.
  int MoreBeginOf(int bits) const;

  MemoryPool* const pool_;
  const int stripe_;
  const float max_load_;
  // Both for PrefetchFirst too; the directory is as long as the shape needs.
  std::atomic<uint64_t> shape_{0};
  // The chunks' addresses, less the bytes of the buckets before them.
  std::atomic<std::atomic<uintptr_t>*> directory_{first_directory_};
  int level_ = 0;
  int more_begin_ = 0;
  int more_begin_if_split_ = 0;
  int64_t size_ = 0;
  // The size at which a bucket is added, and below which one is removed.
  int64_t max_size_ = 0;
  int64_t min_size_ = 0;
  // The fewest buckets that joins leave.
  uint32_t min_buckets_ = 0;
  // Buckets that there is memory for.
  uint32_t capacity_ = 0;
  std::vector<MemoryPool::Slab> chunks_;
  // The next chunk of MoveChunk.
  size_t hand_ = 0;
  // The directory in use is the last. PrefetchFirst may read one that became
  // too short, so those stay; together they are shorter than the last.
  std::atomic<uintptr_t> first_directory_[kMinDirectory] = {};
  std::vector<std::unique_ptr<std::atomic<uintptr_t>[]>> directories_;
  size_t directory_size_ = kMinDirectory;
  // Entries that found no place: (hash, handle).
  std::vector<std::pair<uint64_t, uint32_t>> stash_;
};

template <typename Matches>
uint32_t CuckooIndex::Find(uint64_t hash, const Matches& matches) const {
  const Shape shape = this->shape();
  if (shape.n == 0) return kNoHandle;
  const uint16_t tag = TagOf(hash);
  // Both buckets at once: which of them has the entry cannot be predicted.
  const Bucket* const buckets[] = {&At(shape.BucketOf(hash)),
                                   &At(shape.BucketOf(OtherProbe(hash, tag)))};
  uint32_t bits = MatchTags(*buckets[0], tag) | MatchTags(*buckets[1], tag)
                                                    << 16;
  for (; bits != 0; bits &= bits - 1) {
    const int match = __builtin_ctz(bits);
    const uint32_t handle = buckets[match >> 4]->handles[match & 15];
    if (matches(handle)) return handle;
  }
  for (const auto& entry : stash_) {
    if (entry.first == hash && matches(entry.second)) return entry.second;
  }
  return kNoHandle;
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_CUCKOO_INDEX_H_
