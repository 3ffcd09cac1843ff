#include "ops/cc/initializer/pretrained_rows.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/table_config.h"

namespace monolith_tf {
namespace {

constexpr int64_t kMaxRows = int64_t{1} << 30;

}  // namespace

absl::StatusOr<std::unique_ptr<const PretrainedRows>> PretrainedRows::Create(
    const int64_t* ids, const float* rows, int64_t n, int64_t dim) {
  if (n < 0 || n > kMaxRows || dim < 1 || dim > kMaxDim) {
    return absl::InvalidArgumentError(absl::StrCat(
        "Pretrained rows take n in [0, ", kMaxRows, "] ids and dim in [1, ",
        kMaxDim, "]. Received: n = ", n, ", dim = ", dim));
  }
  for (int64_t i = 0; i < n * dim; ++i) {
    if (!std::isfinite(rows[i])) {
      return absl::InvalidArgumentError(absl::StrCat(
          "Pretrained rows take finite numbers. Received: ", rows[i],
          " in the row of id ", ids[i / dim]));
    }
  }
  auto pretrained = absl::WrapUnique(new PretrainedRows(ids, rows, n, dim));
  const uint32_t twice = pretrained->FillPlaces();
  if (twice != kEmpty) {
    return absl::InvalidArgumentError(
        absl::StrCat("Pretrained rows take distinct ids. Received: id ",
                     ids[twice], " more than once"));
  }
  return std::unique_ptr<const PretrainedRows>(std::move(pretrained));
}

PretrainedRows::PretrainedRows(const int64_t* ids, const float* rows, int64_t n,
                               int64_t dim)
    : dim_(dim),
      hash_(KeyedHash::OfProcess()),
      ids_(ids, ids + n),
      rows_(rows, rows + n * dim) {}

uint32_t PretrainedRows::FillPlaces() {
  size_t num_places = 2;
  while (num_places < 2 * ids_.size()) num_places *= 2;
  mask_ = num_places - 1;
  places_.assign(num_places, kEmpty);
  for (size_t number = 0; number < ids_.size(); ++number) {
    uint64_t place = hash_(ids_[number]) & mask_;
    for (; places_[place] != kEmpty; place = (place + 1) & mask_) {
      if (ids_[places_[place]] == ids_[number]) {
        return static_cast<uint32_t>(number);
      }
    }
    places_[place] = static_cast<uint32_t>(number);
  }
  return kEmpty;
}

int64_t PretrainedRows::bytes() const {
  return static_cast<int64_t>(ids_.size() * sizeof(int64_t) +
                              rows_.size() * sizeof(float) +
                              places_.size() * sizeof(uint32_t));
}

}  // namespace monolith_tf
