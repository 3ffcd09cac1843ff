// partition.h
//
// Partitions of the id space, and their owners. These numbers are part of the
// file formats (docs/formats.md): a checkpoint of N servers restores on M,
// because its groups depend on ids alone.

#ifndef MONOLITH_TF_OPS_CC_HASH_PARTITION_H_
#define MONOLITH_TF_OPS_CC_HASH_PARTITION_H_

#include <cstdint>

#include "ops/cc/hash/hash.h"

namespace monolith_tf {

inline constexpr int kNumPartitions = 4096;
// Checkpoints key rows by group: 64 groups of 64 neighbouring partitions.
inline constexpr int kNumGroups = 64;

// The partition of `id`, 0 .. kNumPartitions - 1.
inline int PartitionOf(int64_t id) {
  return static_cast<int>(Mix64(static_cast<uint64_t>(id)) >> 52);
}

// The checkpoint group of `id`, 0 .. kNumGroups - 1.
inline int GroupOf(int64_t id) { return PartitionOf(id) >> 6; }

// The shard, of `num_shards` >= 1, that owns `partition`.
inline int OwnerOf(int partition, int num_shards) {
  return static_cast<int>(static_cast<int64_t>(partition) * num_shards /
                          kNumPartitions);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_HASH_PARTITION_H_
