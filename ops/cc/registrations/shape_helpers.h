// Inputs of shape functions, read by name and checked when the graph is built.

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

// Shapes of a list of inputs or outputs.
using Shapes = std::vector<tensorflow::shape_inference::ShapeHandle>;

// Input `name`, not a list, of any shape.
inline absl::Status InputShape(
    tensorflow::shape_inference::InferenceContext* c, const char* name,
    tensorflow::shape_inference::ShapeHandle* shape) {
  Shapes shapes;
  TF_RETURN_IF_ERROR(c->input(name, &shapes));
  *shape = shapes[0];
  return absl::OkStatus();
}

// Input `name`, not a list, of rank `rank`.
inline absl::Status InputOfRank(
    tensorflow::shape_inference::InferenceContext* c, const char* name,
    int rank, tensorflow::shape_inference::ShapeHandle* shape = nullptr) {
  tensorflow::shape_inference::ShapeHandle found;
  TF_RETURN_IF_ERROR(InputShape(c, name, &found));
  TF_RETURN_IF_ERROR(c->WithRank(found, rank, &found));
  if (shape != nullptr) *shape = found;
  return absl::OkStatus();
}

// Inputs `name`, a list, of rank `rank` each.
inline absl::Status InputsOfRank(
    tensorflow::shape_inference::InferenceContext* c, const char* name,
    int rank) {
  Shapes shapes;
  TF_RETURN_IF_ERROR(c->input(name, &shapes));
  for (auto& shape : shapes) {
    TF_RETURN_IF_ERROR(c->WithRank(shape, rank, &shape));
  }
  return absl::OkStatus();
}

// Output `name`, not a list.
inline absl::Status SetOutput(tensorflow::shape_inference::InferenceContext* c,
                              const char* name,
                              tensorflow::shape_inference::ShapeHandle shape) {
  return c->set_output(name, {shape});
}

// Every output is a vector of unknown length.
inline void SetVectors(tensorflow::shape_inference::InferenceContext* c) {
  for (int output = 0; output < c->num_outputs(); ++output) {
    c->set_output(
        output,
        c->Vector(tensorflow::shape_inference::InferenceContext::kUnknownDim));
  }
}

// Every output is a scalar.
inline void SetScalars(tensorflow::shape_inference::InferenceContext* c) {
  for (int output = 0; output < c->num_outputs(); ++output) {
    c->set_output(output, c->Scalar());
  }
}

// Input `handle` is a scalar resource handle.
inline absl::Status HandleShape(
    tensorflow::shape_inference::InferenceContext* c) {
  return InputOfRank(c, "handle", 0);
}

// Attributes `tables` and `dims` have one entry per table, dims positive.
inline absl::Status TablesAgreeWithDims(
    tensorflow::shape_inference::InferenceContext* c) {
  std::vector<std::string> tables;
  std::vector<int64_t> dims;
  TF_RETURN_IF_ERROR(c->GetAttr("tables", &tables));
  TF_RETURN_IF_ERROR(c->GetAttr("dims", &dims));
  return CheckDims(dims, tables.size());
}

// Shapes of ids `[n]` and rows `[n, ?]`.
inline absl::Status IdsAgreeWithRows(
    tensorflow::shape_inference::InferenceContext* c,
    tensorflow::shape_inference::ShapeHandle ids,
    tensorflow::shape_inference::ShapeHandle rows) {
  tensorflow::shape_inference::DimensionHandle unused;
  TF_RETURN_IF_ERROR(c->WithRank(ids, 1, &ids));
  TF_RETURN_IF_ERROR(c->WithRank(rows, 2, &rows));
  return c->Merge(c->Dim(ids, 0), c->Dim(rows, 0), &unused);
}

// Inputs `ids` `[n]` and `rows` `[n, ?]`.
inline absl::Status IdsAgreeWithRows(
    tensorflow::shape_inference::InferenceContext* c) {
  tensorflow::shape_inference::ShapeHandle ids;
  tensorflow::shape_inference::ShapeHandle rows;
  TF_RETURN_IF_ERROR(InputShape(c, "ids", &ids));
  TF_RETURN_IF_ERROR(InputShape(c, "rows", &rows));
  return IdsAgreeWithRows(c, ids, rows);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_REGISTRATIONS_SHAPE_HELPERS_H_
