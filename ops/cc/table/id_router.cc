#include "id_router.h"

#include <random>

#include "hash.h"
#include "partition.h"

namespace monolith_tf {
namespace {

// A key of this process, so that nobody can choose ids that share one slot.
uint64_t ProcessKey() {
  static const uint64_t key = [] {
    std::random_device device;
    return (static_cast<uint64_t>(device()) << 32) | device();
  }();
  return key;
}

}  // namespace

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
  const uint64_t key = ProcessKey();
  // Index of the distinct id plus one; 0 is an empty slot.
  std::vector<int64_t> slots(num_slots, 0);
  std::vector<int64_t> slot_ids(num_slots);

  for (int64_t i = 0; i < n; ++i) {
    const int64_t id = ids[i];
    // Two rounds around the key: one round would only permute chosen ids.
    uint64_t slot =
        Mix64(Mix64(static_cast<uint64_t>(id) ^ key) + key) & mask;
    while (slots[slot] != 0 && slot_ids[slot] != id) slot = (slot + 1) & mask;
    if (slots[slot] == 0) {
      const int shard = Owner(Partition(id), num_shards_);
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
