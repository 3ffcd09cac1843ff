// The kernel that sums the gradients of all features of a step by id, on the
// routes that their ids took for the lookup.

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
#include "ops/cc/kernels/feature_lists.h"
#include "ops/cc/kernels/own_terms.h"
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

// No id is hashed again, and no slice is written.
class CombineGradientsOp : public FeaturesOp {
 public:
  explicit CombineGradientsOp(OpKernelConstruction* context)
      : FeaturesOp(context) {
    // What was refused there is not to be read here.
    if (!context->status().ok()) return;
    OP_REQUIRES_OK(context, context->GetAttr("tables", &tables_));
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
    OP_REQUIRES_OK(context, context->GetAttr("weighted", &weighted_));
    OP_REQUIRES_OK(context, context->GetAttr("own_terms", &own_terms_));
    OP_REQUIRES(context,
                own_terms_.empty() ||
                    static_cast<int64_t>(own_terms_.size()) == num_features(),
                absl::InvalidArgumentError(absl::StrCat(
                    "`own_terms` needs one entry a feature, ", num_features(),
                    ", or none; got ", own_terms_.size(), ".")));
    for (const int64_t own_terms : own_terms_) {
      OP_REQUIRES_OK(context, CheckOwnTerms(own_terms));
    }
    int64_t num_weighted;
    OP_REQUIRES_OK(context, context->GetAttr("num_weighted", &num_weighted));
    OP_REQUIRES_OK(context, CheckDims(dims_, tables_.size()));
    OP_REQUIRES_OK(context, CheckWeighted(weighted_, num_weighted));
    OP_REQUIRES_OK(context, context->GetAttr("gradient_of", &gradient_of_));
    OP_REQUIRES_OK(context, context->GetAttr("first_columns", &first_columns_));
    int64_t num_gradients;
    OP_REQUIRES_OK(context, context->GetAttr("num_gradients", &num_gradients));
    const auto num_found = static_cast<int64_t>(gradient_of_.size());
    OP_REQUIRES(
        context,
        num_found == num_features() &&
            first_columns_.size() == gradient_of_.size(),
        absl::InvalidArgumentError(absl::StrCat(
            "`gradient_of` and `first_columns` need one entry a feature, ",
            num_features(), "; got ", num_found, " and ", first_columns_.size(),
            ".")));
    for (const int64_t gradient : gradient_of_) {
      OP_REQUIRES(context, gradient >= 0 && gradient < num_gradients,
                  absl::InvalidArgumentError(absl::StrCat(
                      "`gradient_of` must be from 0 to ", num_gradients - 1,
                      "; got ", gradient, ".")));
    }
    for (const int64_t first : first_columns_) {
      OP_REQUIRES_OK(context, CheckFirstColumn(first));
    }
    number_of_.assign(num_tables(), -1);
    for (size_t i = 0; i < tables_.size(); ++i) {
      OP_REQUIRES(context,
                  tables_[i] >= 0 && tables_[i] < num_tables() &&
                      number_of_[tables_[i]] < 0,
                  absl::InvalidArgumentError(absl::StrCat(
                      "`tables` must be different numbers from 0 to ",
                      num_tables() - 1, "; got ", tables_[i], ".")));
      number_of_[tables_[i]] = i;
    }
    for (int64_t f = 0; f < num_features(); ++f) {
      OP_REQUIRES(context, number_of_[table_of(f)] >= 0,
                  absl::InvalidArgumentError(
                      absl::StrCat("table ", table_of(f), " of feature number ",
                                   f, " is not among `tables`.")));
    }
  }

  void Compute(OpKernelContext* context) override {
    WorkerCounters::Get().GradientsLeave(context->step_id());
    StepInputs step;
    OP_REQUIRES_OK(context, StepInputs::Get(context, &step));
    OpInputList packed_ids;
    OP_REQUIRES_OK(context, context->input_list("packed_ids", &packed_ids));
    Batch batch;
    OP_REQUIRES_OK(context, GetBatch(context, &batch));
    OpOutputList packed;
    OP_REQUIRES_OK(context, context->output_list("packed", &packed));
    OpOutputList values;
    OP_REQUIRES_OK(context, context->output_list("values", &values));

    std::vector<ApplyInputs> inputs(num_shards());
    std::vector<ShardedSums> sums(tables_.size());
    for (int64_t s = 0; s < num_shards(); ++s) {
      OP_REQUIRES_OK(
          context, MakeShard(context, step, packed_ids[s], &inputs[s], &sums));
    }
    const int64_t wrong = SumAll(context, batch, sums);
    OP_REQUIRES(context, wrong < 0,
                absl::InvalidArgumentError(absl::StrCat(
                    "positions of table number ", wrong,
                    " are not those that MonolithPartition gave for ",
                    "`packed_ids`.")));
    PackOwnTerms(batch, inputs, sums);
    for (int64_t s = 0; s < num_shards(); ++s) {
      // Ids that stand in other features only.
      inputs[s].DropUncounted(dims_);
      packed.set(s, inputs[s].packed);
      values.set(s, inputs[s].values);
    }
  }

 private:
  // The inputs of one step.
  struct Batch {
    std::vector<FeatureLists> lists;
    std::vector<const int64_t*> places;
    std::vector<int64_t> sizes;
    std::vector<const float*> weights;
    std::vector<VectorGradients> gradients;
    int64_t num_ids = 0;
  };

  // Makes what a shard gets, if all of its ids do; nothing is counted yet.
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

  // Sums the gradients of all tables: many ids of one in parts at once, tables
  // of few ids beside each other. Returns the number of a table that has no
  // sums for its places, or -1.
  int64_t SumAll(OpKernelContext* context, const Batch& batch,
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
        if (table_of(f) == tables_[t]) num_ids += batch.sizes[f];
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
                  if (!Sum(batch, tables_[unit.table], unit.part,
                           unit.num_parts, sums[unit.table])) {
                    wrong = tables_[unit.table];
                  }
                });
    return wrong;
  }

  absl::Status GetBatch(OpKernelContext* context, Batch* batch) const {
    OpInputList positions;
    TF_RETURN_IF_ERROR(context->input_list("positions", &positions));
    OpInputList gradients;
    TF_RETURN_IF_ERROR(context->input_list("gradients", &gradients));
    OpInputList splits;
    TF_RETURN_IF_ERROR(context->input_list("splits", &splits));
    OpInputList weights;
    TF_RETURN_IF_ERROR(context->input_list("weights", &weights));
    TF_RETURN_IF_ERROR(GetLists(positions, splits, &batch->lists));
    TF_RETURN_IF_ERROR(
        GetWeights(positions, weights, weighted_, &batch->weights));
    for (int64_t f = 0; f < num_features(); ++f) {
      const Tensor& gradient = gradients[gradient_of_[f]];
      const int64_t dim = dims_[number_of_[table_of(f)]];
      TensorShape expected;
      TF_RETURN_IF_ERROR(OutputShape(positions[f].shape(), combiner(f),
                                     batch->lists[f], dim, &expected));
      TF_RETURN_IF_ERROR(CheckGradient(f, gradient.shape(), expected));
      batch->gradients.push_back({gradient.flat<float>().data() +
                                      std::max<int64_t>(first_columns_[f], 0),
                                  gradient.dim_size(gradient.dims() - 1)});
      batch->places.push_back(positions[f].flat<int64_t>().data());
      batch->sizes.push_back(positions[f].NumElements());
      batch->num_ids += positions[f].NumElements();
    }
    return absl::OkStatus();
  }

  // The gradient of a feature is of the shape `expected`, or has its columns.
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
        ", got ", shape.DebugString(), "."));
  }

  // Whether `shape` is `expected` but for columns before and after it.
  static bool HasColumns(const TensorShape& shape, const TensorShape& expected,
                         int64_t first) {
    const int last = expected.dims() - 1;
    if (shape.dims() != expected.dims()) return false;
    for (int d = 0; d < last; ++d) {
      if (shape.dim_size(d) != expected.dim_size(d)) return false;
    }
    return shape.dim_size(last) - expected.dim_size(last) >= first;
  }

  // Puts the own terms that the features bring for an id beside its count.
  // SumAll checked the places.
  void PackOwnTerms(const Batch& batch, const std::vector<ApplyInputs>& inputs,
                    const std::vector<ShardedSums>& sums) const {
    for (const ApplyInputs& shard : inputs) {
      for (int64_t i = 0; i < shard.num_ids(); ++i) {
        shard.counts[i] = PackCount(shard.counts[i], /*own_terms=*/0);
      }
    }
    for (size_t f = 0; f < own_terms_.size(); ++f) {
      if (own_terms_[f] == 0) continue;
      const ShardedSums& table = sums[number_of_[table_of(f)]];
      for (int64_t i = 0; i < batch.sizes[f]; ++i) {
        const int64_t place = batch.places[f][i];
        if (place < 0) continue;
        int64_t& word =
            table.shards[PlaceShard(place)].counts[PlaceIndex(place)];
        word = PackCount(OccurrencesOf(word),
                         MergedOwnTerms(OwnTermsOf(word), own_terms_[f]));
      }
    }
  }

  // Each sum is made by one thread in the order of the batch, so threads do not
  // change a bit.
  bool Sum(const Batch& batch, int64_t table, int64_t part, int64_t num_parts,
           const ShardedSums& sums) const {
    for (int64_t f = 0; f < num_features(); ++f) {
      if (table_of(f) == table &&
          !combiner(f).AddGradients(batch.lists[f], batch.places[f],
                                    batch.weights[f], batch.gradients[f], part,
                                    num_parts, sums)) {
        return false;
      }
    }
    return true;
  }

  std::vector<int64_t> tables_;
  std::vector<int64_t> dims_;
  std::vector<bool> weighted_;
  // Per feature, or empty.
  std::vector<int64_t> own_terms_;
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
