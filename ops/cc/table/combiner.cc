#include "ops/cc/table/combiner.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/table/copy_floats.h"
#include "ops/cc/table/id_router.h"
#include "ops/cc/table/prefetch.h"

namespace monolith_tf {
namespace {

// Positions whose rows are on their way while one is worked on.
constexpr int64_t kPrefetchDistance = 16;
// Neighbouring sums that one part works on: at least a cache line.
constexpr int kLogPartRows = 4;

void Add(const float* __restrict row, float weight, int64_t dim,
         float* __restrict sum) {
  for (int64_t d = 0; d < dim; ++d) sum[d] += row[d] * weight;
}

void Set(const float* __restrict row, float weight, int64_t dim,
         float* __restrict sum) {
  for (int64_t d = 0; d < dim; ++d) sum[d] = row[d] * weight;
}

void SetZero(int64_t dim, float* out) {
  for (int64_t d = 0; d < dim; ++d) out[d] = 0.0f;
}

}  // namespace

absl::Status CheckSplits(const int64_t* splits, int64_t n, int64_t num_ids) {
  if (n < 1 || splits[0] != 0 || splits[n - 1] != num_ids) {
    return absl::InvalidArgumentError(absl::StrCat(
        "row splits must start at 0 and end at the number of ids, ", num_ids,
        "; got ",
        n < 1 ? std::string("none")
              : absl::StrCat("first ", splits[0], ", last ", splits[n - 1]),
        "."));
  }
  for (int64_t i = 1; i < n; ++i) {
    if (splits[i] < splits[i - 1]) {
      return absl::InvalidArgumentError(
          absl::StrCat("row splits must not fall; got ", splits[i - 1],
                       " and then ", splits[i], " at ", i, "."));
    }
  }
  return absl::OkStatus();
}

absl::Status Combiner::Make(const std::string& name, int64_t n, Combiner* out) {
  static constexpr const char* kNames[] = {"none", "sum", "mean", "sqrtn",
                                           "first_n"};
  for (int kind = 0; kind < 5; ++kind) {
    if (name != kNames[kind]) continue;
    out->kind_ = static_cast<Kind>(kind);
    out->n_ = n;
    if (out->kind_ == Kind::kFirstN ? n >= 1 : n == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("`n` must be positive for combiner 'first_n' and 0 for ",
                     "others; got ", n, " for '", name, "'."));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "combiner must be 'none', 'sum', 'mean', 'sqrtn' or 'first_n', got '",
      name, "'."));
}

void Combiner::Cut(const FeatureLists& lists, int64_t* places) const {
  if (kind_ != Kind::kFirstN) return;
  for (int64_t list = 0; list < lists.num_lists; ++list) {
    int64_t kept = 0;
    for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
      if (places[i] < 0) continue;
      if (kept++ >= n_) places[i] = kNoPlace;
    }
  }
}

float Combiner::DivisorOf(const FeatureLists& lists, const int64_t* places,
                          const float* weights, int64_t list) const {
  float sum = 0.0f;
  for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
    if (places[i] < 0) continue;
    const float weight = weights == nullptr ? 1.0f : weights[i];
    sum += kind_ == Kind::kMean ? weight : weight * weight;
  }
  return kind_ == Kind::kMean ? sum : std::sqrt(sum);
}

float Combiner::ScaleOf(const FeatureLists& lists, const int64_t* places,
                        const float* weights, int64_t list) const {
  if (kind_ != Kind::kMean && kind_ != Kind::kSqrtn) return 1.0f;
  const float divisor = DivisorOf(lists, places, weights, list);
  return divisor == 0.0f ? 0.0f : 1.0f / divisor;
}

int64_t Combiner::Combine(const FeatureLists& lists, const int64_t* places,
                          const float* weights, const ShardedRows& rows,
                          int64_t begin, int64_t end, float* out) const {
  const int64_t dim = rows.dim;
  const auto num_shards = static_cast<int64_t>(rows.bases.size());
  const int64_t last = begin < end ? lists.End(end - 1) : 0;
  const bool is_one_to_one = kind_ == Kind::kNone || kind_ == Kind::kFirstN;
  for (int64_t list = begin; list < end; ++list) {
    float* vector = out + list * vectors_per_list() * dim;
    float* const vectors_end = vector + vectors_per_list() * dim;
    bool is_empty = true;
    for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
      if (i + kPrefetchDistance < last) {
        const int64_t next = places[i + kPrefetchDistance];
        if (next >= 0 && PlaceShard(next) < num_shards &&
            PlaceIndex(next) < rows.sizes[PlaceShard(next)]) {
          PrefetchLine(rows.bases[PlaceShard(next)] + PlaceIndex(next) * dim);
        }
      }
      const int64_t place = places[i];
      if (place < 0) continue;
      const int64_t shard = PlaceShard(place);
      const int64_t index = PlaceIndex(place);
      if (shard >= num_shards || index >= rows.sizes[shard] ||
          vector == vectors_end) {
        return i;
      }
      const float* row = rows.bases[shard] + index * dim;
      const float weight = weights == nullptr ? 1.0f : weights[i];
      if (is_one_to_one) {
        if (weights == nullptr) {
          CopyFloats(row, dim, vector);
        } else {
          Set(row, weight, dim, vector);
        }
        vector += dim;
        continue;
      }
      if (is_empty) SetZero(dim, vector);
      is_empty = false;
      Add(row, weight, dim, vector);
    }
    if (is_one_to_one || is_empty) {
      SetZero(vectors_end - vector, vector);
    } else if (kind_ != Kind::kSum) {
      const float divisor = DivisorOf(lists, places, weights, list);
      for (int64_t d = 0; d < dim; ++d) {
        vector[d] = divisor == 0.0f ? 0.0f : vector[d] / divisor;
      }
    }
  }
  return -1;
}

void Combiner::Slices(const FeatureLists& lists, const int64_t* places,
                      const float* weights, const float* gradients,
                      const int64_t* ids, int64_t dim, int64_t begin,
                      int64_t end, float* slices, int64_t* slice_ids) const {
  for (int64_t list = begin; list < end; ++list) {
    const float* gradient = gradients + list * vectors_per_list() * dim;
    const float scale = ScaleOf(lists, places, weights, list);
    for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
      if (places[i] < 0) continue;
      Set(gradient, weights == nullptr ? scale : scale * weights[i], dim,
          slices);
      if (kind_ == Kind::kFirstN) gradient += dim;
      slices += dim;
      *slice_ids++ = ids[i];
    }
  }
}

void Combiner::AddGradients(const FeatureLists& lists, const int64_t* places,
                            const float* weights, const float* gradients,
                            int64_t part, int64_t num_parts,
                            std::vector<std::vector<uint8_t>>* seen,
                            const ShardedSums& sums) const {
  const int64_t dim = sums.dim;
  const int64_t mask = num_parts - 1;
  for (int64_t list = 0; list < lists.num_lists; ++list) {
    const float* gradient = gradients + list * vectors_per_list() * dim;
    // Computed at the first id that is of the part.
    bool has_scale = false;
    float scale = 0.0f;
    for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
      if (places[i] < 0) continue;
      const float* const row = gradient;
      if (kind_ == Kind::kFirstN) gradient += dim;
      const int64_t index = PlaceIndex(places[i]);
      if (((index >> kLogPartRows) & mask) != part) continue;
      const int64_t shard = PlaceShard(places[i]);
      const int64_t to = sums.moved.empty() ? index : sums.moved[shard][index];
      if (!has_scale) scale = ScaleOf(lists, places, weights, list);
      has_scale = true;
      float* const sum = sums.bases[shard] + to * dim;
      const float factor = weights == nullptr ? scale : scale * weights[i];
      uint8_t& was_seen = (*seen)[shard][index];
      if (was_seen == 0) {
        was_seen = 1;
        SetZero(dim, sum);
      }
      Add(row, factor, dim, sum);
    }
  }
}

}  // namespace monolith_tf
