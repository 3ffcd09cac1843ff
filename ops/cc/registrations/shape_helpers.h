// Shape checks that several ops share. All run when the graph is built.

#ifndef MONOLITH_TF_OPS_CC_REGISTRATIONS_SHAPE_HELPERS_H_
#define MONOLITH_TF_OPS_CC_REGISTRATIONS_SHAPE_HELPERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {

// Input 0 is a scalar resource handle.
inline absl::Status HandleShape(
    tensorflow::shape_inference::InferenceContext* c) {
  tensorflow::shape_inference::ShapeHandle unused;
  return c->WithRank(c->input(0), 0, &unused);
}

// Attributes `tables` and `dims` have one entry a table, dims positive.
inline absl::Status TablesAgreeWithDims(
    tensorflow::shape_inference::InferenceContext* c) {
  std::vector<std::string> tables;
  std::vector<int64_t> dims;
  TF_RETURN_IF_ERROR(c->GetAttr("tables", &tables));
  TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
  if (tables.size() != dims.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("`tables` and `dims` need one entry a table; got ",
                     tables.size(), " tables and ", dims.size(), " dims."));
  }
  return CheckDims(dims, tables.size());
}

// ids `[n]` and rows `[n, ?]`.
inline absl::Status IdsAgreeWithRows(
    tensorflow::shape_inference::InferenceContext* c, int ids_input,
    int rows_input) {
  tensorflow::shape_inference::ShapeHandle ids;
  tensorflow::shape_inference::ShapeHandle rows;
  tensorflow::shape_inference::DimensionHandle unused;
  TF_RETURN_IF_ERROR(c->WithRank(c->input(ids_input), 1, &ids));
  TF_RETURN_IF_ERROR(c->WithRank(c->input(rows_input), 2, &rows));
  return c->Merge(c->Dim(ids, 0), c->Dim(rows, 0), &unused);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_REGISTRATIONS_SHAPE_HELPERS_H_
