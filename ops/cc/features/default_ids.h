// default_ids.h: inserts a feature's default id where an example has no id.
//
//   ids       5 | | 0 0 | 7        four lists; padding id 0, default id 9
//   filled    5 | 9 | 9 0 | 7
//
// An empty list gets an element; in a list of padding alone, the first element
// is replaced. Lists of a fixed length of 0 get a length of 1. Later stages
// (routes, combiners, gradients) see ordinary ids.
//
// Thread safety: stateless functions.

#ifndef MONOLITH_TF_OPS_CC_FEATURES_DEFAULT_IDS_H_
#define MONOLITH_TF_OPS_CC_FEATURES_DEFAULT_IDS_H_

#include <cstdint>

#include "ops/cc/features/combiner.h"

namespace monolith_tf {

// The padding id, if there is one, and the default id.
struct DefaultId {
  bool is_padded = false;
  int64_t padding_id = 0;
  int64_t default_id = 0;

  bool IsPadding(int64_t id) const { return is_padded && id == padding_id; }
};

// Whether list `list` has no id.
bool IsMissing(const FeatureLists& lists, int64_t list, const int64_t* ids,
               const DefaultId& choice);

// The number of lists that FillMissing changes.
struct MissingLists {
  // Lists without an id.
  int64_t num_missing = 0;
  // Those without an element: FillMissing adds one id for each.
  int64_t num_empty = 0;
};

// O(ids) if there is padding, else O(lists).
MissingLists CountMissing(const FeatureLists& lists, const int64_t* ids,
                          const DefaultId& choice);

// Writes the filled ids, num_empty more than `ids`. `weights` and
// `filled_weights` may be null, as may `filled_splits` [num_lists + 1]; a
// default id has the weight 1.
void FillMissing(const FeatureLists& lists, const int64_t* ids,
                 const float* weights, const DefaultId& choice, int64_t* filled,
                 float* filled_weights, int64_t* filled_splits);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_FEATURES_DEFAULT_IDS_H_
