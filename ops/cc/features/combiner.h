// combiner.h: combines the rows of a feature's ids to its output, and the
// output's gradient to gradients of rows.
//
// The ids of a feature in one batch form lists, one list per example:
//
//   ids      5 -1 | 7 | | 5 5 9        four lists, one of them empty
//   places   the place of each id's row (id_router.h); -1: no row is read
//
// An id without a place (padding, or cut off by first_n) reads zeros, is not
// counted, and gets no gradient.
//
//   kNone    one vector per id: weight * row
//   kSum     one vector per list: sum of weight * row
//   kMean    the sum, divided by the sum of the weights
//   kSqrtn   the sum, divided by the root of the sum of the squared weights
//   kFirstN  `n` vectors per list: weight * row of its first n ids, then zeros
//
// Missing weights are 1. A divisor of 0 gives zeros. Sums run in the order of
// the list, in float32: results do not depend on threads.
//
// Thread safety: all functions are const and stateless.

#ifndef MONOLITH_TF_OPS_CC_FEATURES_COMBINER_H_
#define MONOLITH_TF_OPS_CC_FEATURES_COMBINER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace monolith_tf {

inline constexpr int64_t kNoPlace = -1;

// The lists of one feature: `length` ids each, or bounded by `splits`
// [num_lists + 1], which start at 0, never decrease and end at the number of
// ids.
struct FeatureLists {
  int64_t num_lists = 0;
  int64_t length = 1;
  const int64_t* splits = nullptr;

  int64_t Begin(int64_t list) const {
    return splits != nullptr ? splits[list] : list * length;
  }
  int64_t End(int64_t list) const { return Begin(list + 1); }
};

// Checks `splits` [n] for `num_ids` ids.
absl::Status CheckSplits(const int64_t* splits, int64_t n, int64_t num_ids);

// Rows of one table in the answers of the shards: row `index` of shard s is
// bases[s] + index * dim, index < sizes[s].
struct ShardedRows {
  std::vector<const float*> bases;
  std::vector<int64_t> sizes;
  int64_t dim = 0;
};

// Gradients of a feature's vectors: vector v has `dim` floats at
// data + v * stride. With a stride above dim, they are columns of a wider
// tensor.
struct VectorGradients {
  const float* data = nullptr;
  int64_t stride = 0;
};

// Sums of gradients by place, and the number of terms of each: for index i of a
// shard, sums + i * dim and counts[i], i < size. A sum is overwritten if its
// count is 0.
struct ShardedSums {
  struct Shard {
    float* sums;
    int64_t* counts;
    int64_t size;
  };
  std::vector<Shard> shards;
  int64_t dim = 0;
};

class Combiner {
 public:
  enum class Kind { kNone, kSum, kMean, kSqrtn, kFirstN };

  // From "none", "sum", "mean", "sqrtn" or "first_n". `n` >= 1 for first_n, 0
  // for the others.
  static absl::Status Make(const std::string& name, int64_t n, Combiner* out);

  Kind kind() const { return kind_; }
  // Vectors per list (1 for kNone, whose lists have one id).
  int64_t vectors_per_list() const { return kind_ == Kind::kFirstN ? n_ : 1; }

  // Removes the places of ids that first_n cuts off: those after the first n of
  // their list with a place. Does nothing for other kinds.
  void Cut(const FeatureLists& lists, int64_t* places) const;

  // Fills the vectors of lists [begin, end); `out` points at the vectors of
  // list 0. Returns -1, or the least position whose place is not among `rows`,
  // after it filled a part of `out`. `weights` may be null.
  int64_t Combine(const FeatureLists& lists, const int64_t* places,
                  const float* weights, const ShardedRows& rows, int64_t begin,
                  int64_t end, float* out) const;

  // Writes gradient rows of the positions of lists [begin, end) that have a
  // place, one after the other: slices and their ids.
  void Slices(const FeatureLists& lists, const int64_t* places,
              const float* weights, const float* gradients, const int64_t* ids,
              int64_t dim, int64_t begin, int64_t end, float* slices,
              int64_t* slice_ids) const;

  // Adds gradient rows to the sums of the places of one part of `num_parts` (a
  // power of two; parts share no cache line except at their ends), in the order
  // of the positions. Returns false if a place of the part is not among the
  // sums, or a list has more places than vectors, after it added some.
  bool AddGradients(const FeatureLists& lists, const int64_t* places,
                    const float* weights, const VectorGradients& gradients,
                    int64_t part, int64_t num_parts,
                    const ShardedSums& sums) const;

 private:
  // The factor of the weights of a list; 0 instead of a division by 0.
  float ScaleOf(const FeatureLists& lists, const int64_t* places,
                const float* weights, int64_t list) const;
  // The divisor of kMean and kSqrtn.
  float DivisorOf(const FeatureLists& lists, const int64_t* places,
                  const float* weights, int64_t list) const;

  Kind kind_ = Kind::kNone;
  int64_t n_ = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_FEATURES_COMBINER_H_
