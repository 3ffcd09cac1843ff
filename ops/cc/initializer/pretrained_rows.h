// pretrained_rows.h
//
// Rows that were trained elsewhere, by id. An id with a pretrained row starts
// from it, also after an eviction. Immutable, so safe from any thread.
//
// An open-addressing array of row numbers, at most half full, is probed from
// the keyed hash of the id. Find touches about two lines of it, one id and one
// row.
//
// Memory per row: 8 + 4 dim bytes, and 8 to 16 for the array.

#ifndef MONOLITH_TF_OPS_CC_INITIALIZER_PRETRAINED_ROWS_H_
#define MONOLITH_TF_OPS_CC_INITIALIZER_PRETRAINED_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "ops/cc/hash/hash.h"

namespace monolith_tf {

class PretrainedRows {
 public:
  // Copies ids [n] and rows [n, dim]. InvalidArgument for more than 2^30 ids,
  // a repeated id, or a number that is not finite.
  static absl::StatusOr<std::unique_ptr<const PretrainedRows>> Create(
      const int64_t* ids, const float* rows, int64_t n, int64_t dim);

  PretrainedRows(const PretrainedRows&) = delete;
  PretrainedRows& operator=(const PretrainedRows&) = delete;

  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  int64_t dim() const { return dim_; }
  int64_t bytes() const;

  // Returns the row [dim] of `id`, valid as long as this object; null if the
  // id has none.
  const float* Find(int64_t id) const {
    for (uint64_t place = hash_(id) & mask_;; place = (place + 1) & mask_) {
      const uint32_t number = places_[place];
      if (number == kEmpty) return nullptr;
      if (ids_[number] == id) return rows_.data() + number * dim_;
    }
  }

 private:
  static constexpr uint32_t kEmpty = 0xFFFFFFFFu;

  PretrainedRows(const int64_t* ids, const float* rows, int64_t n, int64_t dim);

  // Returns the row number of a repeated id, or kEmpty.
  uint32_t FillPlaces();

  const int64_t dim_;
  const KeyedHash hash_;
  const std::vector<int64_t> ids_;
  const std::vector<float> rows_;
  // A power of two of row numbers, less one.
  uint64_t mask_ = 0;
  std::vector<uint32_t> places_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_INITIALIZER_PRETRAINED_ROWS_H_
