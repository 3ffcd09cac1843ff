// id_router.h: routes the ids of one table and batch to shards.
//
// IdRouter deduplicates ids and assigns each distinct id a place: the shard
// that owns it and its index among that shard's distinct ids. Places are
// numbered in the order of first occurrence, so results do not depend on
// hashing. A router that is not `distinct` treats every id as a new one.
//
// Thread safety: not thread-safe. Memory: 4 bytes per hash entry (two to four
// entries per id of the batch; 8 bytes from 2^32 ids on), 8 to 24 bytes per
// distinct id, and 8 bytes per id. Every int64 is a valid id.

#ifndef MONOLITH_TF_OPS_CC_FEATURES_ID_ROUTER_H_
#define MONOLITH_TF_OPS_CC_FEATURES_ID_ROUTER_H_

#include <cstdint>
#include <vector>

namespace monolith_tf {

// A place as one int64: shard in the upper 24 bits, index in the lower 40.
inline constexpr int kPlaceIndexBits = 40;

inline int64_t MakePlace(int64_t shard, int64_t index) {
  return (shard << kPlaceIndexBits) | index;
}
inline int64_t PlaceShard(int64_t place) { return place >> kPlaceIndexBits; }
inline int64_t PlaceIndex(int64_t place) {
  return place & ((int64_t{1} << kPlaceIndexBits) - 1);
}

class IdRouter {
 public:
  explicit IdRouter(int num_shards, bool distinct = true);

  // Forgets all ids and makes room for `n` of them, to be added in parts.
  void Start(int64_t n);
  // Routes some more ids for a lookup: fills `places[n]`, the place of each
  // position, and leaves counts() and distinct_index() empty. O(n). In all at
  // most as many ids as Start was told.
  void Add(const int64_t* ids, int64_t n, int64_t* places);
  // Start and Add of all ids.
  void Route(const int64_t* ids, int64_t n, int64_t* places);
  // Routes `ids[n]` for an update, which needs distinct ones: fills counts()
  // and distinct_index(). O(n).
  void RouteAndCount(const int64_t* ids, int64_t n);

  int num_shards() const { return num_shards_; }
  int64_t num_distinct() const { return static_cast<int64_t>(ids_.size()); }
  // Distinct ids, in the order of first occurrence.
  const std::vector<int64_t>& distinct_ids() const { return ids_; }
  // The place of a distinct id.
  int64_t PlaceOf(int64_t distinct) const {
    return num_shards_ == 1 ? MakePlace(0, distinct) : places_[distinct];
  }
  // Per distinct id: the number of occurrences.
  const std::vector<int64_t>& counts() const { return counts_; }
  // Per position of the input: the index of the distinct id.
  const std::vector<int64_t>& distinct_index() const { return index_; }
  // Per shard: the number of its distinct ids.
  const std::vector<int64_t>& shard_sizes() const { return shard_sizes_; }

 private:
  // Calls visit(position, distinct) for every position, in order.
  template <typename Visit>
  void ForEachId(const int64_t* ids, int64_t n, const Visit& visit);
  template <typename Entry, typename Visit>
  void ForEachIdWithEntries(std::vector<Entry>* entries, const int64_t* ids,
                            int64_t n, const Visit& visit);

  // Add without a search.
  void AddAll(const int64_t* ids, int64_t n, int64_t* places);

  int num_shards_;
  bool distinct_;
  // Index of the distinct id plus one; 0 is an empty entry. The ids are not in
  // here: small entries stay in the cache, and a new id, as most are, needs
  // none but its own. Only one of the two is in use.
  std::vector<uint32_t> entries_;
  std::vector<uint64_t> wide_entries_;
  std::vector<int64_t> ids_;
  std::vector<int64_t> counts_;
  // Empty with one shard.
  std::vector<int64_t> places_;
  std::vector<int64_t> index_;
  std::vector<int64_t> shard_sizes_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_FEATURES_ID_ROUTER_H_
