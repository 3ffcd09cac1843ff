#include "ops/cc/features/default_ids.h"

#include <algorithm>
#include <cstdint>

#include "ops/cc/features/combiner.h"

namespace monolith_tf {

bool IsMissing(const FeatureLists& lists, int64_t list, const int64_t* ids,
               const DefaultId& choice) {
  const int64_t begin = lists.Begin(list);
  const int64_t end = lists.End(list);
  if (begin == end) return true;
  return choice.is_padded &&
         std::all_of(ids + begin, ids + end,
                     [&](int64_t id) { return choice.IsPadding(id); });
}

MissingLists CountMissing(const FeatureLists& lists, const int64_t* ids,
                          const DefaultId& choice) {
  MissingLists missing;
  for (int64_t list = 0; list < lists.num_lists; ++list) {
    missing.num_missing += IsMissing(lists, list, ids, choice);
    missing.num_empty += lists.Begin(list) == lists.End(list);
  }
  return missing;
}

void FillMissing(const FeatureLists& lists, const int64_t* ids,
                 const float* weights, const DefaultId& choice, int64_t* filled,
                 float* filled_weights, int64_t* filled_splits) {
  int64_t next = 0;
  for (int64_t list = 0; list < lists.num_lists; ++list) {
    if (filled_splits != nullptr) filled_splits[list] = next;
    const int64_t begin = lists.Begin(list);
    const int64_t end = lists.End(list);
    std::copy(ids + begin, ids + end, filled + next);
    if (weights != nullptr) {
      std::copy(weights + begin, weights + end, filled_weights + next);
    }
    if (IsMissing(lists, list, ids, choice)) {
      filled[next] = choice.default_id;
      if (weights != nullptr) filled_weights[next] = 1.0f;
    }
    next += std::max<int64_t>(1, end - begin);
  }
  if (filled_splits != nullptr) filled_splits[lists.num_lists] = next;
}

}  // namespace monolith_tf
