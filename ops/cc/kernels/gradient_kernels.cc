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
#include "ops/cc/kernels/own_terms.h"
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
    OP_REQUIRES(
        context, num_splits <= 1 && num_weights <= 1,
        absl::InvalidArgumentError(absl::StrCat(
            "one feature has at most one tensor of row splits and one of "
            "weights; got ",
            num_splits, " and ", num_weights, ".")));
  }

  void Compute(OpKernelContext* context) override {
    const Tensor& gradient = context->input(0);
    const Tensor& ids = context->input(1);
    const Tensor& positions = context->input(2);
    OpInputList splits;
    OP_REQUIRES_OK(context, context->input_list("splits", &splits));
    OpInputList weights;
    OP_REQUIRES_OK(context, context->input_list("weights", &weights));
    OP_REQUIRES(context, ids.shape() == positions.shape(),
                absl::InvalidArgumentError(absl::StrCat(
                    "`ids` and `positions` must have one shape, got ",
                    ids.shape().DebugString(), " and ",
                    positions.shape().DebugString(), ".")));
    FeatureLists lists;
    OP_REQUIRES_OK(
        context, ListsOf(ids.shape(), splits.size() == 0 ? nullptr : &splits[0],
                         combiner_, &lists));
    TensorShape expected;
    OP_REQUIRES_OK(context,
                   OutputShape(ids.shape(), combiner_, lists, dim_, &expected));
    OP_REQUIRES(context, gradient.shape() == expected,
                absl::InvalidArgumentError(absl::StrCat(
                    "`gradient` must be ", expected.DebugString(), ", got ",
                    gradient.shape().DebugString(), ".")));
    const float* of_ids = nullptr;
    if (weights.size() > 0) {
      OP_REQUIRES(context, weights[0].NumElements() == ids.NumElements(),
                  absl::InvalidArgumentError(absl::StrCat(
                      "weights must be as many as ids, ", ids.NumElements(),
                      "; got ", weights[0].NumElements(), ".")));
      of_ids = weights[0].flat<float>().data();
    }
    const int64_t* const places = positions.flat<int64_t>().data();
    constexpr int64_t kBlockLists = 1024;
    // Where the slices of each block of lists begin.
    std::vector<int64_t> first = {0};
    for (int64_t list = 0; list < lists.num_lists; ++list) {
      if (list % kBlockLists == 0) first.push_back(first.back());
      int64_t kept = 0;
      for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
        kept += places[i] >= 0;
      }
      OP_REQUIRES(context,
                  combiner_.kind() != Combiner::Kind::kFirstN ||
                      kept <= combiner_.vectors_per_list(),
                  absl::InvalidArgumentError(
                      "`positions` are not those that MonolithPartition gave "
                      "for a feature of this combiner."));
      first.back() += kept;
    }
    Tensor* values = nullptr;
    Tensor* indices = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({first.back(), dim_}), &values));
    OP_REQUIRES_OK(context, context->allocate_output(
                                1, TensorShape({first.back()}), &indices));
    const int64_t num_blocks = first.size() - 1;
    const int64_t num_threads = NumThreadsFor(context, ids.NumElements());
    ForEachBlock(context, num_blocks, num_threads == 1 ? num_blocks : 1,
                 [&](int64_t begin, int64_t end) {
                   combiner_.Slices(
                       lists, places, of_ids, gradient.flat<float>().data(),
                       ids.flat<int64_t>().data(), dim_, begin * kBlockLists,
                       std::min(end * kBlockLists, lists.num_lists),
                       values->flat<float>().data() + first[begin] * dim_,
                       indices->flat<int64_t>().data() + first[begin]);
                 });
  }

 private:
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
                   context->GetAttr("counted_tables", &counted_tables_));
    // Eager calls come without the checks of the shape function.
    int64_t num_counted;
    OP_REQUIRES_OK(context, context->GetAttr("num_counted", &num_counted));
    OP_REQUIRES(
        context, static_cast<int64_t>(counted_tables_.size()) == num_counted,
        absl::InvalidArgumentError(absl::StrCat(
            "`counted_tables` needs one entry for each of `own_terms`; got ",
            counted_tables_.size(), " for ", num_counted, ".")));
    for (const int64_t table : counted_tables_) {
      OP_REQUIRES(context, table >= 0 && table < num_tables_,
                  absl::InvalidArgumentError(
                      absl::StrCat("`counted_tables` must be from 0 to ",
                                   num_tables_ - 1, "; got ", table, ".")));
    }
    OP_REQUIRES_OK(context, CheckNumShards(num_shards_));
    OP_REQUIRES_OK(context, CheckNumTables(num_tables_, num_shards_));
  }

  void Compute(OpKernelContext* context) override {
    WorkerCounters::Get().GradientsLeave(context->step_id());
    StepInputs step;
    OP_REQUIRES_OK(context, StepInputs::Get(context, &step));
    OpInputList ids;
    OP_REQUIRES_OK(context, context->input_list("ids", &ids));
    OpInputList gradients;
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    OpInputList own_terms;
    OP_REQUIRES_OK(context, context->input_list("own_terms", &own_terms));
    OpOutputList packed;
    OP_REQUIRES_OK(context, context->output_list("packed", &packed));
    OpOutputList values;
    OP_REQUIRES_OK(context, context->output_list("values", &values));
    std::vector<const int64_t*> brought(num_tables_, nullptr);
    OP_REQUIRES_OK(context, GetOwnTerms(ids, own_terms, &brought));

    std::vector<int64_t> dims(num_tables_);
    int64_t num_ids = 0;
    for (int64_t t = 0; t < num_tables_; ++t) {
      OP_REQUIRES(
          context, ids[t].dims() == 1,
          absl::InvalidArgumentError(absl::StrCat(
              "ids of table number ", t, " must be a vector, got shape ",
              ids[t].shape().DebugString(), ".")));
      const int64_t n = ids[t].NumElements();
      OP_REQUIRES(context,
                  gradients[t].dims() == 2 && gradients[t].dim_size(0) == n,
                  absl::InvalidArgumentError(absl::StrCat(
                      "gradients of table number ", t, " must be [", n,
                      ", dim] for ids ", ids[t].shape().DebugString(), ", got ",
                      gradients[t].shape().DebugString(), ".")));
      dims[t] = gradients[t].dim_size(1);
      num_ids += n;
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
      OP_REQUIRES_OK(context, step.Make(context, sizes, dims, &inputs[s]));
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
      const std::vector<int64_t> terms = MergedTerms(router, brought[t]);
      for (int64_t i = 0; i < router.num_distinct(); ++i) {
        const int64_t shard = PlaceShard(router.PlaceOf(i));
        const int64_t index = PlaceIndex(router.PlaceOf(i));
        out_ids[shard][index] = router.distinct_ids()[i];
        out_counts[shard][index] =
            PackCount(router.counts()[i], terms.empty() ? 0 : terms[i]);
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
  }

 private:
  // Per table what its slices bring, null for those that bring nothing.
  absl::Status GetOwnTerms(const OpInputList& ids, const OpInputList& own_terms,
                           std::vector<const int64_t*>* brought) const {
    for (int i = 0; i < own_terms.size(); ++i) {
      const int64_t table = counted_tables_[i];
      if (own_terms[i].shape() != ids[table].shape()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "own_terms of table number ", table, " must be as many as ids, ",
            ids[table].shape().DebugString(), "; got ",
            own_terms[i].shape().DebugString(), "."));
      }
      (*brought)[table] = own_terms[i].flat<int64_t>().data();
      for (int64_t j = 0; j < own_terms[i].NumElements(); ++j) {
        TF_RETURN_IF_ERROR(CheckOwnTerms((*brought)[table][j]));
      }
    }
    return absl::OkStatus();
  }

  // Per distinct id the own terms that hold; empty when none are brought.
  static std::vector<int64_t> MergedTerms(const IdRouter& router,
                                          const int64_t* brought) {
    if (brought == nullptr) return {};
    std::vector<int64_t> merged(router.num_distinct(), 0);
    const std::vector<int64_t>& index = router.distinct_index();
    for (size_t i = 0; i < index.size(); ++i) {
      int64_t& terms = merged[index[i]];
      terms = MergedOwnTerms(terms, brought[i]);
    }
    return merged;
  }

  // Writes the gradient sums of a part of the distinct ids. Each is summed by
  // one thread in the order of the batch, so threads do not change a bit.
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
  std::vector<int64_t> counted_tables_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithSlices").Device(DEVICE_CPU), SlicesOp);
REGISTER_KERNEL_BUILDER(Name("MonolithPartitionGradients").Device(DEVICE_CPU),
                        PartitionGradientsOp);

}  // namespace
}  // namespace monolith_tf
