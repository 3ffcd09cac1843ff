// The kernel that sums the gradients of all features of a step by id, along the
// routes of the lookup's ids.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/admission/packed_count.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/features/combiner.h"
#include "ops/cc/features/id_router.h"
#include "ops/cc/kernels/feature_kernel.h"
#include "ops/cc/kernels/feature_lists.h"
#include "ops/cc/kernels/feature_overrides.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/step_inputs.h"
#include "ops/cc/kernels/worker_counters.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpInputList;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::OpOutputList;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

// It hashes no id again, and writes no slices.
class CombineGradientsOp : public FeatureKernel {
 public:
  explicit CombineGradientsOp(OpKernelConstruction* context)
      : FeatureKernel(context) {
    if (!context->status().ok()) return;
    OP_REQUIRES_OK(context, ReadTables(context));
    OP_REQUIRES_OK(context, ReadGradients(context));
    OP_REQUIRES_OK(context, ReadOverrides(context));
  }

 protected:
  absl::Status Run(OpKernelContext* context) override {
    WorkerCounters::Get().GradientsLeave(context->step_id());
    StepInputs step;
    TF_RETURN_IF_ERROR(StepInputs::Get(context, &step));
    OpInputList packed_ids;
    TF_RETURN_IF_ERROR(context->input_list("packed_ids", &packed_ids));
    Batch batch;
    TF_RETURN_IF_ERROR(GetBatch(context, "positions", &batch));
    std::vector<VectorGradients> gradients;
    TF_RETURN_IF_ERROR(GetGradients(context, batch, &gradients));
    OpOutputList packed;
    OpOutputList values;
    TF_RETURN_IF_ERROR(context->output_list("packed", &packed));
    TF_RETURN_IF_ERROR(context->output_list("values", &values));

    std::vector<ApplyInputs> inputs(num_shards());
    std::vector<ShardedSums> sums(tables_.size());
    for (int64_t s = 0; s < num_shards(); ++s) {
      TF_RETURN_IF_ERROR(
          MakeShard(context, step, packed_ids[s], &inputs[s], &sums));
    }
    const int64_t wrong = SumAll(context, batch, gradients, sums);
    if (wrong >= 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "positions of table number ", wrong,
          " must be those that MonolithPartition returned with packed_ids. "
          "Received: positions of other ids."));
    }
    AddOverrides(batch, inputs, sums);
    for (int64_t s = 0; s < num_shards(); ++s) {
      // The ids that occur only in features without a gradient.
      inputs[s].DropUncounted(dims_);
      packed.set(s, inputs[s].packed);
      values.set(s, inputs[s].values);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ReadTables(OpKernelConstruction* context) {
    TF_RETURN_IF_ERROR(context->GetAttr("tables", &tables_));
    TF_RETURN_IF_ERROR(context->GetAttr("dims", &dims_));
    TF_RETURN_IF_ERROR(CheckDims(dims_, tables_.size()));
    number_of_.assign(num_tables(), -1);
    for (size_t i = 0; i < tables_.size(); ++i) {
      if (tables_[i] < 0 || tables_[i] >= num_tables() ||
          number_of_[tables_[i]] >= 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            "tables must be different numbers from 0 to ", num_tables() - 1,
            ". Received: ", tables_[i], " at index ", i, "."));
      }
      number_of_[tables_[i]] = i;
    }
    for (int64_t f = 0; f < num_features(); ++f) {
      if (number_of_[table_of(f)] < 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            "tables must have the table of each feature. Received: feature "
            "number ",
            f, " of table ", table_of(f), "."));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadGradients(OpKernelConstruction* context) {
    int64_t num_gradients;
    TF_RETURN_IF_ERROR(context->GetAttr("num_gradients", &num_gradients));
    TF_RETURN_IF_ERROR(
        GetEntries(context, "gradient_of", num_features(), &gradient_of_));
    TF_RETURN_IF_ERROR(
        GetEntries(context, "first_columns", num_features(), &first_columns_));
    for (int64_t f = 0; f < num_features(); ++f) {
      if (gradient_of_[f] < 0 || gradient_of_[f] >= num_gradients) {
        return absl::InvalidArgumentError(absl::StrCat(
            "gradient_of must be from 0 to ", num_gradients - 1,
            ". Received: ", gradient_of_[f], " for feature number ", f, "."));
      }
      TF_RETURN_IF_ERROR(CheckFirstColumn(first_columns_[f]));
    }
    return absl::OkStatus();
  }

  absl::Status ReadOverrides(OpKernelConstruction* context) {
    TF_RETURN_IF_ERROR(context->GetAttr("overrides", &overrides_));
    if (overrides_.empty()) return absl::OkStatus();
    TF_RETURN_IF_ERROR(
        GetEntries(context, "overrides", num_features(), &overrides_));
    for (const int64_t packed : overrides_) {
      TF_RETURN_IF_ERROR(CheckOverrides(packed));
    }
    return absl::OkStatus();
  }

  // Makes the inputs of a shard with all of its ids, each counted 0 times.
  absl::Status MakeShard(OpKernelContext* context, const StepInputs& step,
                         const Tensor& packed_ids, ApplyInputs* inputs,
                         std::vector<ShardedSums>* sums) const {
    PackedIds routed;
    TF_RETURN_IF_ERROR(PackedIds::Parse(packed_ids, /*prefix=*/0, num_tables(),
                                        /*columns=*/1, &routed));
    std::vector<int64_t> sizes;
    for (const int64_t table : tables_) sizes.push_back(routed.sizes[table]);
    TF_RETURN_IF_ERROR(step.Make(context, sizes, dims_, inputs));
    std::fill_n(inputs->counts, inputs->num_ids(), 0);
    int64_t* ids = inputs->ids;
    int64_t* counts = inputs->counts;
    float* gradients = inputs->gradients;
    for (size_t t = 0; t < tables_.size(); ++t) {
      ids = std::copy_n(routed.columns + routed.offsets[tables_[t]], sizes[t],
                        ids);
      (*sums)[t].dim = dims_[t];
      (*sums)[t].shards.push_back({gradients, counts, sizes[t]});
      counts += sizes[t];
      gradients += sizes[t] * dims_[t];
    }
    return absl::OkStatus();
  }

  // Sums the gradients of all tables. Threads share the ids of a table that has
  // many, and take whole tables that have few. Returns the number of a table
  // with positions of other ids, or -1.
  int64_t SumAll(OpKernelContext* context, const Batch& batch,
                 const std::vector<VectorGradients>& gradients,
                 const std::vector<ShardedSums>& sums) const {
    struct Unit {
      int64_t table;
      int64_t part;
      int64_t num_parts;
    };
    std::vector<Unit> units;
    for (size_t t = 0; t < tables_.size(); ++t) {
      int64_t num_ids = 0;
      for (int64_t f = 0; f < num_features(); ++f) {
        if (table_of(f) == tables_[t]) num_ids += batch.ids[f].NumElements();
      }
      int64_t num_parts = 1;
      while (2 * num_parts <= NumThreadsFor(context, num_ids)) num_parts *= 2;
      for (int64_t part = 0; part < num_parts; ++part) {
        units.push_back({static_cast<int64_t>(t), part, num_parts});
      }
    }
    std::atomic<int64_t> wrong{-1};
    ForEachUnit(context, units.size(), NumThreadsFor(context, batch.num_ids),
                [&](int64_t i) {
                  const Unit& unit = units[i];
                  if (!Sum(batch, gradients, tables_[unit.table], unit.part,
                           unit.num_parts, sums[unit.table])) {
                    wrong = tables_[unit.table];
                  }
                });
    return wrong;
  }

  absl::Status GetGradients(OpKernelContext* context, const Batch& batch,
                            std::vector<VectorGradients>* out) const {
    OpInputList gradients;
    TF_RETURN_IF_ERROR(context->input_list("gradients", &gradients));
    for (int64_t f = 0; f < num_features(); ++f) {
      const Tensor& gradient = gradients[gradient_of_[f]];
      TensorShape expected;
      TF_RETURN_IF_ERROR(
          OutputShape(batch.ids[f].shape(), combiner(f), batch.lists[f],
                      dims_[number_of_[table_of(f)]], &expected));
      TF_RETURN_IF_ERROR(CheckGradient(f, gradient.shape(), expected));
      out->push_back({gradient.flat<float>().data() +
                          std::max<int64_t>(first_columns_[f], 0),
                      gradient.dim_size(gradient.dims() - 1)});
    }
    return absl::OkStatus();
  }

  // The gradient of a feature has the shape `expected`, or has its columns.
  absl::Status CheckGradient(int64_t f, const TensorShape& shape,
                             const TensorShape& expected) const {
    const int64_t first = first_columns_[f];
    if (first < 0 ? shape == expected : HasColumns(shape, expected, first)) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "the gradient of feature number ", f, " must be ",
        expected.DebugString(),
        first < 0 ? std::string()
                  : absl::StrCat(" in the columns from ", first, " on"),
        ". Received: shape ", shape.DebugString(), "."));
  }

  // `shape` is `expected` with more columns before and after.
  static bool HasColumns(const TensorShape& shape, const TensorShape& expected,
                         int64_t first) {
    const int last = expected.dims() - 1;
    if (shape.dims() != expected.dims()) return false;
    for (int d = 0; d < last; ++d) {
      if (shape.dim_size(d) != expected.dim_size(d)) return false;
    }
    return shape.dim_size(last) - expected.dim_size(last) >= first;
  }

  // Packs the overrides of the features that an id occurs in with its count.
  // SumAll checked the places.
  void AddOverrides(const Batch& batch, const std::vector<ApplyInputs>& inputs,
                    const std::vector<ShardedSums>& sums) const {
    for (const ApplyInputs& shard : inputs) {
      for (int64_t i = 0; i < shard.num_ids(); ++i) {
        shard.counts[i] = PackCount(shard.counts[i], /*overrides=*/0);
      }
    }
    for (size_t f = 0; f < overrides_.size(); ++f) {
      if (overrides_[f] == 0) continue;
      const ShardedSums& table = sums[number_of_[table_of(f)]];
      const int64_t* const places = batch.data(f);
      for (int64_t i = 0; i < batch.ids[f].NumElements(); ++i) {
        const int64_t place = places[i];
        if (place < 0) continue;
        int64_t& word =
            table.shards[PlaceShard(place)].counts[PlaceIndex(place)];
        word = PackCount(OccurrencesOf(word),
                         MergedOverrides(OverridesOf(word), overrides_[f]));
      }
    }
  }

  // One thread makes each sum in the order of the batch, so the number of
  // threads does not change a bit.
  bool Sum(const Batch& batch, const std::vector<VectorGradients>& gradients,
           int64_t table, int64_t part, int64_t num_parts,
           const ShardedSums& sums) const {
    for (int64_t f = 0; f < num_features(); ++f) {
      if (table_of(f) == table &&
          !combiner(f).AddGradients(batch.lists[f], batch.data(f),
                                    batch.weights[f], gradients[f], part,
                                    num_parts, sums)) {
        return false;
      }
    }
    return true;
  }

  std::vector<int64_t> tables_;
  std::vector<int64_t> dims_;
  // Per feature, or empty.
  std::vector<int64_t> overrides_;
  // Per feature the number of its gradient, and the first column there or -1.
  std::vector<int64_t> gradient_of_;
  std::vector<int64_t> first_columns_;
  // Per table of the lookup its number among `tables_`, or -1.
  std::vector<int64_t> number_of_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithCombineGradients").Device(DEVICE_CPU),
                        CombineGradientsOp);

}  // namespace
}  // namespace monolith_tf
