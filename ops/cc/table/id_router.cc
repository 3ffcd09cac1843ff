#include "ops/cc/table/id_router.h"

#include "ops/cc/table/hash.h"
#include "ops/cc/table/partition.h"

namespace monolith_tf {
IdRouter::IdRouter(int num_shards) : num_shards_(num_shards) {}

void IdRouter::Route(const int64_t* ids, int64_t n, int64_t* places) {
  ids_.clear();
  counts_.clear();
  places_.clear();
  index_.resize(n);
  shard_sizes_.assign(num_shards_, 0);

  int64_t num_slots = 16;
  while (num_slots < 2 * n) num_slots *= 2;
  const uint64_t mask = static_cast<uint64_t>(num_slots - 1);
  const KeyedHash hash = KeyedHash::OfProcess();
  // Index of the distinct id plus one; 0 is an empty slot.
  std::vector<int64_t> slots(num_slots, 0);
  std::vector<int64_t> slot_ids(num_slots);

  for (int64_t i = 0; i < n; ++i) {
    const int64_t id = ids[i];
    uint64_t slot = hash(id) & mask;
    while (slots[slot] != 0 && slot_ids[slot] != id) slot = (slot + 1) & mask;
    if (slots[slot] == 0) {
      const int shard = OwnerOf(PartitionOf(id), num_shards_);
      ids_.push_back(id);
      counts_.push_back(0);
      places_.push_back(MakePlace(shard, shard_sizes_[shard]++));
      slots[slot] = static_cast<int64_t>(ids_.size());
      slot_ids[slot] = id;
    }
    const int64_t distinct = slots[slot] - 1;
    ++counts_[distinct];
    index_[i] = distinct;
    if (places != nullptr) places[i] = places_[distinct];
  }
}

}  // namespace monolith_tf
