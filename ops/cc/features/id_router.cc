#include "ops/cc/features/id_router.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "ops/cc/hash/hash.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/memory/prefetch.h"

namespace monolith_tf {
namespace {

// Ids hashed at a time, their entries on the way into the cache.
constexpr int64_t kBlock = 64;

// What an entry says; `size` for an empty one. With masks, as compilers make a
// branch of a condition.
template <typename Entry>
int64_t IndexOf(Entry entry, int64_t size) {
  const int64_t is_taken = -static_cast<int64_t>(entry != 0);
  return (size & ~is_taken) | ((static_cast<int64_t>(entry) - 1) & is_taken);
}

}  // namespace

IdRouter::IdRouter(int num_shards, bool distinct)
    : num_shards_(num_shards), distinct_(distinct) {}

void IdRouter::Start(int64_t n) {
  ids_.clear();
  ids_.reserve(n);
  places_.clear();
  if (num_shards_ > 1) places_.reserve(n);
  counts_.clear();
  index_.clear();
  shard_sizes_.assign(num_shards_, 0);
  entries_.clear();
  wide_entries_.clear();
  if (!distinct_) return;
  int64_t num_entries = 16;
  while (num_entries < 2 * n) num_entries *= 2;
  if (n < int64_t{0xFFFFFFFF}) {
    entries_.resize(num_entries);
  } else {
    wide_entries_.resize(num_entries);
  }
}

void IdRouter::Add(const int64_t* ids, int64_t n, int64_t* places) {
  if (!distinct_) return AddAll(ids, n, places);
  ForEachId(ids, n, [this, places](int64_t i, int64_t distinct) {
    places[i] = PlaceOf(distinct);
  });
}

void IdRouter::AddAll(const int64_t* ids, int64_t n, int64_t* places) {
  ids_.insert(ids_.end(), ids, ids + n);
  if (num_shards_ == 1) {
    std::iota(places, places + n, MakePlace(0, shard_sizes_[0]));
    shard_sizes_[0] += n;
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const int shard = OwnerOf(PartitionOf(ids[i]), num_shards_);
    places[i] = MakePlace(shard, shard_sizes_[shard]++);
    places_.push_back(places[i]);
  }
}

void IdRouter::Route(const int64_t* ids, int64_t n, int64_t* places) {
  Start(n);
  Add(ids, n, places);
}

void IdRouter::RouteAndCount(const int64_t* ids, int64_t n) {
  Start(n);
  counts_.assign(n, 0);
  index_.resize(n);
  ForEachId(ids, n, [this](int64_t i, int64_t distinct) {
    ++counts_[distinct];
    index_[i] = distinct;
  });
  counts_.resize(num_distinct());
}

template <typename Visit>
void IdRouter::ForEachId(const int64_t* ids, int64_t n, const Visit& visit) {
  if (wide_entries_.empty()) {
    ForEachIdWithEntries(&entries_, ids, n, visit);
  } else {
    ForEachIdWithEntries(&wide_entries_, ids, n, visit);
  }
}

template <typename Entry, typename Visit>
void IdRouter::ForEachIdWithEntries(std::vector<Entry>* table,
                                    const int64_t* ids, int64_t n,
                                    const Visit& visit) {
  Entry* const entries = table->data();
  const uint64_t mask = table->size() - 1;
  const KeyedHash hash = KeyedHash::OfProcess();
  int64_t size = num_distinct();
  // Room for all of them to be new.
  ids_.resize(size + n);
  int64_t* const distinct = ids_.data();
  uint64_t first_entries[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(n, begin + kBlock);
    for (int64_t i = begin; i < end; ++i) {
      first_entries[i - begin] = hash(ids[i]) & mask;
      PrefetchLine(entries + first_entries[i - begin]);
    }
    for (int64_t i = begin; i < end; ++i) {
      const int64_t id = ids[i];
      uint64_t at = first_entries[i - begin];
      // An empty entry reads as the next new id, which this one is if it comes
      // to one: whether an id is new is a coin's toss, so no branch asks.
      distinct[size] = id;
      int64_t index = IndexOf(entries[at], size);
      while (distinct[index] != id) {
        at = (at + 1) & mask;
        index = IndexOf(entries[at], size);
      }
      const bool is_first = index == size;
      if (num_shards_ > 1 && is_first) {
        const int shard = OwnerOf(PartitionOf(id), num_shards_);
        places_.push_back(MakePlace(shard, shard_sizes_[shard]++));
      }
      entries[at] = static_cast<Entry>(index + 1);
      size += is_first;
      visit(i, index);
    }
  }
  ids_.resize(size);
  if (num_shards_ == 1) shard_sizes_[0] = size;
}

}  // namespace monolith_tf
