// default_ids.h: puts an id of the feature's choice where an example has none.
//
//   ids       5 | | 0 0 | 7        four lists; padding id 0, default id 9
//   filled    5 | 9 | 9 0 | 7
//
// An empty list gets an element, one of padding alone has its first replaced. A
// list of a fixed length of 0 gets a length of 1. What comes after, routes,
// combiners and gradients, sees ordinary ids.
//
// Thread safety: plain functions that keep nothing.

#ifndef MONOLITH_TF_OPS_CC_FEATURES_DEFAULT_IDS_H_
#define MONOLITH_TF_OPS_CC_FEATURES_DEFAULT_IDS_H_

#include <cstdint>

#include "ops/cc/features/combiner.h"

namespace monolith_tf {

// What stands for no id, and what is put there.
struct DefaultId {
  bool is_padded = false;
  int64_t padding_id = 0;
  int64_t default_id = 0;

  bool IsPadding(int64_t id) const { return is_padded && id == padding_id; }
};

// Whether list `list` has no id.
bool IsMissing(const FeatureLists& lists, int64_t list, const int64_t* ids,
               const DefaultId& choice);

// What FillMissing changes.
struct MissingLists {
  // Lists without an id.
  int64_t num_missing = 0;
  // Those of them without an element: each makes the ids one more.
  int64_t num_empty = 0;
};

// O(ids) where there is padding, else O(lists).
MissingLists CountMissing(const FeatureLists& lists, const int64_t* ids,
                          const DefaultId& choice);

// Writes the filled ids, as many as `ids` and num_empty more. `weights` and
// `filled_weights` may be null, as may `filled_splits` [num_lists + 1]; a
// default id has the weight 1.
void FillMissing(const FeatureLists& lists, const int64_t* ids,
                 const float* weights, const DefaultId& choice, int64_t* filled,
                 float* filled_weights, int64_t* filled_splits);

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_FEATURES_DEFAULT_IDS_H_
