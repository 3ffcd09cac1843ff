// Kernels that turn gradients of vectors into gradients of rows, sum them by id
// and route them to shards.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/features/combiner.h"
#include "ops/cc/features/id_router.h"
#include "ops/cc/kernels/feature_lists.h"
#include "ops/cc/kernels/feature_overrides.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/step_inputs.h"
#include "ops/cc/kernels/worker_counters.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpInputList;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class SlicesOp : public OpKernel {
 public:
  explicit SlicesOp(OpKernelConstruction* context) : OpKernel(context) {
    std::string name;
    int64_t n;
    OP_REQUIRES_OK(context, context->GetAttr("combiner", &name));
    OP_REQUIRES_OK(context, context->GetAttr("n", &n));
    OP_REQUIRES_OK(context, context->GetAttr("dim", &dim_));
    OP_REQUIRES_OK(context, Combiner::Make(name, n, &combiner_));
    OP_REQUIRES_OK(context, CheckDim(dim_));
    int64_t num_splits;
    int64_t num_weights;
    OP_REQUIRES_OK(context, context->GetAttr("num_splits", &num_splits));
    OP_REQUIRES_OK(context, context->GetAttr("num_weights", &num_weights));
    OP_REQUIRES(context, num_splits <= 1 && num_weights <= 1,
                absl::InvalidArgumentError(absl::StrCat(
                    "a feature has at most one tensor of row splits and one "
                    "of weights. Received: ",
                    num_splits, " and ", num_weights, ".")));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) const {
    const Tensor* gradient = nullptr;
    const Tensor* ids = nullptr;
    const Tensor* positions = nullptr;
    OpInputList splits;
    OpInputList weights;
    TF_RETURN_IF_ERROR(context->input("gradient", &gradient));
    TF_RETURN_IF_ERROR(context->input("ids", &ids));
    TF_RETURN_IF_ERROR(context->input("positions", &positions));
    TF_RETURN_IF_ERROR(context->input_list("splits", &splits));
    TF_RETURN_IF_ERROR(context->input_list("weights", &weights));
    if (ids->shape() != positions->shape()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids and positions must have one shape. Received: shapes ",
          ids->shape().DebugString(), " and ", positions->shape().DebugString(),
          "."));
    }
    FeatureLists lists;
    const float* of_ids;
    TF_RETURN_IF_ERROR(GetFeature(*ids,
                                  splits.size() == 0 ? nullptr : &splits[0],
                                  weights.size() == 0 ? nullptr : &weights[0],
                                  combiner_, &lists, &of_ids));
    TensorShape expected;
    TF_RETURN_IF_ERROR(
        OutputShape(ids->shape(), combiner_, lists, dim_, &expected));
    if (gradient->shape() != expected) {
      return absl::InvalidArgumentError(absl::StrCat(
          "gradient must be ", expected.DebugString(), ". Received: shape ",
          gradient->shape().DebugString(), "."));
    }
    const int64_t* const places = positions->flat<int64_t>().data();
    constexpr int64_t kBlockLists = 1024;
    // The first slice of each block of lists.
    std::vector<int64_t> first = {0};
    for (int64_t list = 0; list < lists.num_lists; ++list) {
      if (list % kBlockLists == 0) first.push_back(first.back());
      int64_t kept = 0;
      for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
        kept += places[i] >= 0;
      }
      if (combiner_.kind() == Combiner::Kind::kFirstN &&
          kept > combiner_.vectors_per_list()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "positions must be those that MonolithPartition returned for a "
            "feature of this combiner, at most ",
            combiner_.vectors_per_list(), " per list. Received: ", kept,
            " in list ", list, "."));
      }
      first.back() += kept;
    }
    Tensor* values = nullptr;
    Tensor* indices = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(
        "values", TensorShape({first.back(), dim_}), &values));
    TF_RETURN_IF_ERROR(context->allocate_output(
        "indices", TensorShape({first.back()}), &indices));
    const int64_t num_blocks = first.size() - 1;
    const int64_t num_threads = NumThreadsFor(context, ids->NumElements());
    ForEachBlock(context, num_blocks, num_threads == 1 ? num_blocks : 1,
                 [&](int64_t begin, int64_t end) {
                   combiner_.Slices(
                       lists, places, of_ids, gradient->flat<float>().data(),
                       ids->flat<int64_t>().data(), dim_, begin * kBlockLists,
                       std::min(end * kBlockLists, lists.num_lists),
                       values->flat<float>().data() + first[begin] * dim_,
                       indices->flat<int64_t>().data() + first[begin]);
                 });
    return absl::OkStatus();
  }

  Combiner combiner_;
  int64_t dim_;
};

// Sums slices by id.
class PartitionGradientsOp : public OpKernel {
 public:
  explicit PartitionGradientsOp(OpKernelConstruction* context)
      : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("num_tables", &num_tables_));
    OP_REQUIRES_OK(context, context->GetAttr("num_shards", &num_shards_));
    OP_REQUIRES_OK(context,
                   context->GetAttr("override_tables", &override_tables_));
    // Eager calls do not run the shape function.
    int64_t num_overrides;
    OP_REQUIRES_OK(context, context->GetAttr("num_overrides", &num_overrides));
    OP_REQUIRES(
        context, static_cast<int64_t>(override_tables_.size()) == num_overrides,
        absl::InvalidArgumentError(absl::StrCat(
            "override_tables must have one entry per tensor of overrides, ",
            num_overrides, ". Received: ", override_tables_.size(), ".")));
    for (const int64_t table : override_tables_) {
      OP_REQUIRES(context, table >= 0 && table < num_tables_,
                  absl::InvalidArgumentError(absl::StrCat(
                      "override_tables must be from 0 to ", num_tables_ - 1,
                      ". Received: ", table, ".")));
    }
    OP_REQUIRES_OK(context, CheckNumShards(num_shards_));
    OP_REQUIRES_OK(context, CheckNumTables(num_tables_, num_shards_));
  }

  void Compute(OpKernelContext* context) override {
    OP_REQUIRES_OK(context, Run(context));
  }

 private:
  absl::Status Run(OpKernelContext* context) const {
    WorkerCounters::Get().GradientsLeave(context->step_id());
    StepInputs step;
    TF_RETURN_IF_ERROR(StepInputs::Get(context, &step));
    OpInputList ids;
    OpInputList gradients;
    OpInputList overrides;
    TF_RETURN_IF_ERROR(context->input_list("ids", &ids));
    TF_RETURN_IF_ERROR(context->input_list("gradients", &gradients));
    TF_RETURN_IF_ERROR(context->input_list("overrides", &overrides));
    OpOutputList packed;
    OpOutputList values;
    TF_RETURN_IF_ERROR(context->output_list("packed", &packed));
    TF_RETURN_IF_ERROR(context->output_list("values", &values));
    std::vector<const int64_t*> slice_overrides(num_tables_, nullptr);
    TF_RETURN_IF_ERROR(GetOverrides(ids, overrides, &slice_overrides));

    std::vector<int64_t> dims(num_tables_);
    int64_t num_ids = 0;
    for (int64_t t = 0; t < num_tables_; ++t) {
      TF_RETURN_IF_ERROR(Of(absl::StrCat("Table number ", t),
                            CheckShapes(ids[t].shape(), gradients[t].shape())));
      dims[t] = gradients[t].dim_size(1);
      num_ids += ids[t].NumElements();
    }
    std::vector<IdRouter> routers(num_tables_,
                                  IdRouter(static_cast<int>(num_shards_)));
    const int64_t num_threads = NumThreadsFor(context, num_ids);
    ForEachUnit(context, num_tables_, num_threads, [&](int64_t t) {
      routers[t].RouteAndCount(ids[t].flat<int64_t>().data(),
                               ids[t].NumElements());
    });

    std::vector<ApplyInputs> inputs(num_shards_);
    std::vector<int64_t*> out_ids;
    std::vector<int64_t*> out_counts;
    std::vector<float*> out_values;
    for (int64_t s = 0; s < num_shards_; ++s) {
      std::vector<int64_t> sizes(num_tables_);
      for (int64_t t = 0; t < num_tables_; ++t) {
        sizes[t] = routers[t].shard_sizes()[s];
      }
      TF_RETURN_IF_ERROR(step.Make(context, sizes, dims, &inputs[s]));
      packed.set(s, inputs[s].packed);
      values.set(s, inputs[s].values);
      out_ids.push_back(inputs[s].ids);
      out_counts.push_back(inputs[s].counts);
      out_values.push_back(inputs[s].gradients);
    }

    struct Unit {
      int64_t table;
      int64_t part;
      int64_t num_parts;
      std::vector<float*> sums;
    };
    std::vector<Unit> units;
    for (int64_t t = 0; t < num_tables_; ++t) {
      const IdRouter& router = routers[t];
      const std::vector<int64_t> merged =
          OverridesPerId(router, slice_overrides[t]);
      for (int64_t i = 0; i < router.num_distinct(); ++i) {
        const int64_t shard = PlaceShard(router.PlaceOf(i));
        const int64_t index = PlaceIndex(router.PlaceOf(i));
        out_ids[shard][index] = router.distinct_ids()[i];
        out_counts[shard][index] =
            PackCount(router.counts()[i], merged.empty() ? 0 : merged[i]);
      }
      const int64_t num_parts = NumThreadsFor(context, ids[t].NumElements());
      for (int64_t part = 0; part < num_parts; ++part) {
        units.push_back({t, part, num_parts, out_values});
      }
      for (int64_t s = 0; s < num_shards_; ++s) {
        const int64_t n = router.shard_sizes()[s];
        out_ids[s] += n;
        out_counts[s] += n;
        out_values[s] += n * dims[t];
      }
    }
    ForEachUnit(context, units.size(), num_threads, [&](int64_t i) {
      const Unit& unit = units[i];
      SumPart(routers[unit.table], gradients[unit.table].flat<float>().data(),
              dims[unit.table], unit.part, unit.num_parts, unit.sums);
    });
    return absl::OkStatus();
  }

  static absl::Status CheckShapes(const TensorShape& ids,
                                  const TensorShape& gradients) {
    if (ids.dims() != 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids must be a vector. Received: shape ", ids.DebugString(), "."));
    }
    if (gradients.dims() == 2 && gradients.dim_size(0) == ids.dim_size(0)) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "gradients must be [", ids.dim_size(0), ", dim] for ids ",
        ids.DebugString(), ". Received: shape ", gradients.DebugString(), "."));
  }

  // Per table the overrides of its slices, or null.
  absl::Status GetOverrides(
      const OpInputList& ids, const OpInputList& overrides,
      std::vector<const int64_t*>* slice_overrides) const {
    for (int i = 0; i < overrides.size(); ++i) {
      const int64_t table = override_tables_[i];
      if (overrides[i].shape() != ids[table].shape()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "Table number ", table, ": overrides must have the shape of ids, ",
            ids[table].shape().DebugString(), ". Received: shape ",
            overrides[i].shape().DebugString(), "."));
      }
      (*slice_overrides)[table] = overrides[i].flat<int64_t>().data();
      for (int64_t j = 0; j < overrides[i].NumElements(); ++j) {
        TF_RETURN_IF_ERROR(CheckOverrides((*slice_overrides)[table][j]));
      }
    }
    return absl::OkStatus();
  }

  // Per distinct id the overrides that hold; empty without `slice_overrides`.
  static std::vector<int64_t> OverridesPerId(const IdRouter& router,
                                             const int64_t* slice_overrides) {
    if (slice_overrides == nullptr) return {};
    std::vector<int64_t> merged(router.num_distinct(), 0);
    const std::vector<int64_t>& index = router.distinct_index();
    for (size_t i = 0; i < index.size(); ++i) {
      int64_t& overrides = merged[index[i]];
      overrides = MergedOverrides(overrides, slice_overrides[i]);
    }
    return merged;
  }

  // Writes the gradient sums of a part of the distinct ids. One thread sums
  // each in the order of the batch, so the number of threads does not change a
  // bit.
  static void SumPart(const IdRouter& router, const float* gradients,
                      int64_t dim, int64_t part, int64_t num_parts,
                      const std::vector<float*>& sums) {
    const int64_t begin = router.num_distinct() * part / num_parts;
    const int64_t end = router.num_distinct() * (part + 1) / num_parts;
    // Distinct ids are numbered in the order in which they first stand.
    int64_t next = begin;
    const std::vector<int64_t>& index = router.distinct_index();
    const auto n = static_cast<int64_t>(index.size());
    for (int64_t i = 0; i < n; ++i) {
      if (index[i] < begin || index[i] >= end) continue;
      const int64_t place = router.PlaceOf(index[i]);
      float* __restrict sum = sums[PlaceShard(place)] + PlaceIndex(place) * dim;
      const float* __restrict gradient = gradients + i * dim;
      if (index[i] == next) {
        ++next;
        for (int64_t d = 0; d < dim; ++d) sum[d] = 0.0f + gradient[d];
      } else {
        for (int64_t d = 0; d < dim; ++d) sum[d] += gradient[d];
      }
    }
  }

  int64_t num_tables_;
  int64_t num_shards_;
  std::vector<int64_t> override_tables_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithSlices").Device(DEVICE_CPU), SlicesOp);
REGISTER_KERNEL_BUILDER(Name("MonolithPartitionGradients").Device(DEVICE_CPU),
                        PartitionGradientsOp);

}  // namespace
}  // namespace monolith_tf
