#include "ops/cc/features/combiner.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/features/id_router.h"
#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/memory/prefetch.h"

namespace monolith_tf {
namespace {

// Positions whose rows are on their way while one is worked on.
constexpr int64_t kPrefetchDistance = 16;
// Neighbouring sums that one part works on: at least a cache line.
constexpr int kLogPartRows = 4;

// Floats of a step of the loops over rows: a number that is known makes code
// without a loop.
constexpr int64_t kStep = 16;

void Add(const float* __restrict row, float weight, int64_t dim,
         float* __restrict sum) {
  int64_t d = 0;
  for (; d + kStep <= dim; d += kStep) {
    for (int64_t k = 0; k < kStep; ++k) sum[d + k] += row[d + k] * weight;
  }
  for (; d < dim; ++d) sum[d] += row[d] * weight;
}

// What Add gives on a sum of 0: the same bits, of -0 too.
void AddFirst(const float* __restrict row, float weight, int64_t dim,
              float* __restrict sum) {
  int64_t d = 0;
  for (; d + kStep <= dim; d += kStep) {
    for (int64_t k = 0; k < kStep; ++k) {
      sum[d + k] = 0.0f + row[d + k] * weight;
    }
  }
  for (; d < dim; ++d) sum[d] = 0.0f + row[d] * weight;
}

void Set(const float* __restrict row, float weight, int64_t dim,
         float* __restrict sum) {
  for (int64_t d = 0; d < dim; ++d) sum[d] = row[d] * weight;
}

void SetZero(int64_t dim, float* out) {
  for (int64_t d = 0; d < dim; ++d) out[d] = 0.0f;
}

// Gradients of one part of the places on their way to their sums: some are
// collected, their sums fetched, then they are added in the order in which they
// came.
class SumQueue {
 public:
  SumQueue(int64_t part, int64_t num_parts, const ShardedSums& sums)
      : part_(part), mask_(num_parts - 1), sums_(sums) {}

  // Takes a gradient, or drops one that is of another part or has no place;
  // false when something that was taken has no sum.
  bool Push(int64_t place, const float* gradient, float factor) {
    // Always written, and kept or not: which of the two is a coin's toss.
    entries_[size_] = {place, gradient, factor};
    size_ +=
        place >= 0 && ((PlaceIndex(place) >> kLogPartRows) & mask_) == part_;
    return size_ < kCapacity || Flush();
  }

  // Adds what is left.
  bool Flush() {
    const int64_t dim = sums_.dim;
    float* sums[kCapacity];
    int64_t* counts[kCapacity];
    const auto num_shards = static_cast<int64_t>(sums_.shards.size());
    for (int i = 0; i < size_; ++i) {
      const int64_t shard = PlaceShard(entries_[i].place);
      const int64_t index = PlaceIndex(entries_[i].place);
      if (shard >= num_shards || index >= sums_.shards[shard].size) {
        return false;
      }
      sums[i] = sums_.shards[shard].sums + index * dim;
      counts[i] = sums_.shards[shard].counts + index;
      PrefetchLine(sums[i]);
      // Sums start anywhere in a line.
      PrefetchLine(sums[i] + dim - 1);
      PrefetchLine(counts[i]);
    }
    for (int i = 0; i < size_; ++i) {
      const Entry& entry = entries_[i];
      if ((*counts[i])++ == 0) {
        AddFirst(entry.gradient, entry.factor, dim, sums[i]);
      } else {
        Add(entry.gradient, entry.factor, dim, sums[i]);
      }
    }
    size_ = 0;
    return true;
  }

 private:
  struct Entry {
    int64_t place;
    const float* gradient;
    float factor;
  };
  static constexpr int kCapacity = 32;

  const int64_t part_;
  const int64_t mask_;
  const ShardedSums& sums_;
  int size_ = 0;
  Entry entries_[kCapacity];
};

}  // namespace

absl::Status CheckSplits(const int64_t* splits, int64_t n, int64_t num_ids) {
  if (n < 1 || splits[0] != 0 || splits[n - 1] != num_ids) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Row splits must start at 0 and end at the number of ids, ", num_ids,
        ". Received: ",
        n < 1 ? std::string("none")
              : absl::StrCat("first ", splits[0], ", last ", splits[n - 1])));
  }
  for (int64_t i = 1; i < n; ++i) {
    if (splits[i] < splits[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "Row splits must not decrease. Received: ", splits[i - 1], " before ",
          splits[i], " at ", i));
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
                     "others. Received: n = ", n, " for '", name, "'"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "`combiner` must be one of 'none', 'sum', 'mean', 'sqrtn', 'first_n'. ",
      "Received: '", name, "'"));
}

void Combiner::Cut(const FeatureLists& lists, int64_t* places) const {
  if (kind_ != Kind::kFirstN) return;
  // There may be any number of lists without ids.
  if (lists.splits == nullptr && lists.length == 0) return;
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

bool Combiner::AddGradients(const FeatureLists& lists, const int64_t* places,
                            const float* weights,
                            const VectorGradients& gradients, int64_t part,
                            int64_t num_parts, const ShardedSums& sums) const {
  SumQueue queue(part, num_parts, sums);
  const int64_t stride = gradients.stride;
  if (kind_ == Kind::kNone && weights == nullptr) {
    for (int64_t i = 0; i < lists.num_lists; ++i) {
      if (!queue.Push(places[i], gradients.data + i * stride, 1.0f)) {
        return false;
      }
    }
    return queue.Flush();
  }
  for (int64_t list = 0; list < lists.num_lists; ++list) {
    const float* gradient = gradients.data + list * vectors_per_list() * stride;
    const float* const end = gradient + vectors_per_list() * stride;
    const float scale = ScaleOf(lists, places, weights, list);
    for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
      if (places[i] < 0) continue;
      if (gradient == end) return false;
      const float factor = weights == nullptr ? scale : scale * weights[i];
      if (!queue.Push(places[i], gradient, factor)) return false;
      if (kind_ == Kind::kFirstN) gradient += stride;
    }
  }
  return queue.Flush();
}

}  // namespace monolith_tf
