// The lists that the ids of a feature form, and the shape of their vectors.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_
#define MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ops/cc/features/combiner.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace monolith_tf {

// The lists of a feature whose ids, or positions, have `shape`; `splits` is
// null for dense ones.
inline absl::Status ListsOf(const tensorflow::TensorShape& shape,
                            const tensorflow::Tensor* splits,
                            const Combiner& combiner, FeatureLists* lists) {
  *lists = FeatureLists();
  if (shape.dims() < 1) {
    return absl::InvalidArgumentError(
        "ids must have a batch dimension. Received: a scalar.");
  }
  if (splits != nullptr) {
    if (shape.dims() != 1 || splits->dims() != 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids with row splits must be a vector, and so must the splits. "
          "Received: shapes ",
          shape.DebugString(), " and ", splits->shape().DebugString(), "."));
    }
    TF_RETURN_IF_ERROR(CheckSplits(splits->flat<int64_t>().data(),
                                   splits->NumElements(),
                                   shape.num_elements()));
  }
  if (combiner.kind() == Combiner::Kind::kNone || shape.dims() == 1) {
    lists->num_lists = shape.num_elements();
  }
  if (combiner.kind() == Combiner::Kind::kNone) return absl::OkStatus();
  if (splits != nullptr) {
    lists->num_lists = splits->NumElements() - 1;
    lists->splits = splits->flat<int64_t>().data();
  } else if (shape.dims() > 1) {
    lists->length = shape.dim_size(shape.dims() - 1);
    lists->num_lists = 1;
    for (int d = 0; d + 1 < shape.dims(); ++d) {
      lists->num_lists *= shape.dim_size(d);
    }
  }
  return absl::OkStatus();
}

// The lists of a feature, and the weights of its ids or null. `splits` and
// `weights` are null for a feature without them.
inline absl::Status GetFeature(const tensorflow::Tensor& ids,
                               const tensorflow::Tensor* splits,
                               const tensorflow::Tensor* weights,
                               const Combiner& combiner, FeatureLists* lists,
                               const float** weights_of_ids) {
  TF_RETURN_IF_ERROR(ListsOf(ids.shape(), splits, combiner, lists));
  *weights_of_ids = nullptr;
  if (weights == nullptr) return absl::OkStatus();
  if (weights->NumElements() != ids.NumElements()) {
    return absl::InvalidArgumentError(
        absl::StrCat("weights must have one entry per id, ", ids.NumElements(),
                     ". Received: ", weights->NumElements(), "."));
  }
  *weights_of_ids = weights->flat<float>().data();
  return absl::OkStatus();
}

// The shape of what a feature makes of rows of `dim`. InvalidArgument where no
// tensor has that shape.
inline absl::Status OutputShape(const tensorflow::TensorShape& ids,
                                const Combiner& combiner,
                                const FeatureLists& lists, int64_t dim,
                                tensorflow::TensorShape* out) {
  std::vector<int64_t> sizes;
  if (combiner.kind() != Combiner::Kind::kNone && lists.splits != nullptr) {
    sizes.push_back(lists.num_lists);
  } else {
    const bool has_lists =
        combiner.kind() != Combiner::Kind::kNone && ids.dims() > 1;
    for (int d = 0; d < ids.dims() - has_lists; ++d) {
      sizes.push_back(ids.dim_size(d));
    }
  }
  if (combiner.kind() == Combiner::Kind::kFirstN) {
    sizes.push_back(combiner.vectors_per_list());
  }
  sizes.push_back(dim);
  const absl::Status status =
      tensorflow::TensorShape::BuildTensorShape(sizes, out);
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat("vectors must fit into a tensor. Received: shape [",
                   absl::StrJoin(sizes, ","), "] for ids ", ids.DebugString(),
                   ", dim ", dim, " and ", combiner.vectors_per_list(),
                   " vectors per list: ", status.message()));
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_FEATURE_LISTS_H_
