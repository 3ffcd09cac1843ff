// The kernel that sums the gradients of all features of a step by id, on the
// routes that their ids took for the lookup.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/feature_lists.h"
#include "ops/cc/kernels/own_min_count.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/step_inputs.h"
#include "ops/cc/table/combiner.h"
#include "ops/cc/table/id_router.h"
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
    OP_REQUIRES_OK(context, context->GetAttr("tables", &tables_));
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
    OP_REQUIRES_OK(context, context->GetAttr("weighted", &weighted_));
    OP_REQUIRES_OK(context, context->GetAttr("min_counts", &min_counts_));
    OP_REQUIRES(context,
                min_counts_.empty() ||
                    static_cast<int64_t>(min_counts_.size()) == num_features(),
                absl::InvalidArgumentError(absl::StrCat(
                    "`min_counts` needs one entry a feature, ", num_features(),
                    ", or none; got ", min_counts_.size(), ".")));
    for (const int64_t min_count : min_counts_) {
      OP_REQUIRES_OK(context, CheckOwnMinCount(min_count));
    }
    OP_REQUIRES(
        context,
        tables_.size() == dims_.size() &&
            static_cast<int64_t>(weighted_.size()) == num_features(),
        absl::InvalidArgumentError(absl::StrCat(
            "`dims` needs one entry for each of `tables` and `weighted` one a "
            "feature; got ",
            dims_.size(), " for ", tables_.size(), " tables and ",
            weighted_.size(), " for ", num_features(), " features.")));
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

    const auto num_tables = static_cast<int64_t>(tables_.size());
    std::vector<PackedIds> routed(num_shards());
    for (int64_t s = 0; s < num_shards(); ++s) {
      OP_REQUIRES_OK(context, PackedIds::Parse(packed_ids[s], /*prefix=*/0,
                                               FeaturesOp::num_tables(),
                                               /*columns=*/1, &routed[s]));
    }
    std::vector<TableSums> sums(num_tables);
    std::atomic<int64_t> wrong{num_tables};
    const int64_t num_threads = NumThreadsFor(context, batch.num_ids);
    ForEachBlock(context, num_tables, num_threads == 1 ? num_tables : 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t t = begin; t < end; ++t) {
                     if (!Count(t, batch, routed, &sums[t])) wrong = t;
                   }
                 });
    OP_REQUIRES(context, wrong == num_tables,
                absl::InvalidArgumentError(absl::StrCat(
                    "positions of table number ", tables_[wrong % num_tables],
                    " are not those that MonolithPartition gave for ",
                    "`packed_ids`.")));

    for (int64_t s = 0; s < num_shards(); ++s) {
      std::vector<int64_t> sizes(num_tables);
      for (int64_t t = 0; t < num_tables; ++t) sizes[t] = sums[t].kept[s];
      int64_t* ids;
      int64_t* counts;
      float* gradients;
      OP_REQUIRES_OK(context, step.Allocate(s, sizes, dims_, &packed, &values,
                                            &ids, &counts, &gradients));
      for (int64_t t = 0; t < num_tables; ++t) {
        const int64_t* const table_ids =
            routed[s].columns + routed[s].offsets[tables_[t]];
        const std::vector<int64_t>& table_counts = sums[t].counts[s];
        const bool brings = !sums[t].min_counts.empty();
        for (size_t i = 0; i < table_counts.size(); ++i) {
          if (table_counts[i] == 0) continue;
          *ids++ = table_ids[i];
          *counts++ =
              PackCount(table_counts[i], brings ? sums[t].min_counts[s][i] : 0);
        }
        sums[t].sums.bases.push_back(gradients);
        gradients += sizes[t] * dims_[t];
      }
    }

    struct Part {
      int64_t table;
      int64_t part;
      int64_t num_parts;
    };
    std::vector<Part> parts;
    for (int64_t t = 0; t < num_tables; ++t) {
      int64_t num_parts = 1;
      while (2 * num_parts <= NumThreadsFor(context, sums[t].num_ids)) {
        num_parts *= 2;
      }
      for (int64_t part = 0; part < num_parts; ++part) {
        parts.push_back({t, part, num_parts});
      }
    }
    const auto num_units = static_cast<int64_t>(parts.size());
    ForEachBlock(context, num_units, num_threads == 1 ? num_units : 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t i = begin; i < end; ++i) {
                     Sum(batch, parts[i].part, parts[i].num_parts,
                         parts[i].table, &sums[parts[i].table]);
                   }
                 });
  }

 private:
  // The inputs of one step.
  struct Batch {
    std::vector<FeatureLists> lists;
    std::vector<const int64_t*> places;
    std::vector<int64_t> sizes;
    std::vector<const float*> weights;
    std::vector<const float*> gradients;
    int64_t num_ids = 0;
  };

  // What becomes of one table's ids.
  struct TableSums {
    // Per shard: how often each routed id stands, and how many stand at all.
    std::vector<std::vector<int64_t>> counts;
    // Per shard and routed id the min_count that holds, 0 for none; empty when
    // no feature brings one.
    std::vector<std::vector<int64_t>> min_counts;
    std::vector<int64_t> kept;
    std::vector<std::vector<uint8_t>> seen;
    ShardedSums sums;
    int64_t num_ids = 0;
  };

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
      const TensorShape expected =
          OutputShape(positions[f].shape(), combiner(f), batch->lists[f],
                      dims_[number_of_[table_of(f)]]);
      if (gradients[f].shape() != expected) {
        return absl::InvalidArgumentError(
            absl::StrCat("the gradient of feature number ", f, " must be ",
                         expected.DebugString(), ", got ",
                         gradients[f].shape().DebugString(), "."));
      }
      batch->places.push_back(positions[f].flat<int64_t>().data());
      batch->sizes.push_back(positions[f].NumElements());
      batch->gradients.push_back(gradients[f].flat<float>().data());
      batch->num_ids += positions[f].NumElements();
    }
    return absl::OkStatus();
  }

  // Counts the places of a table; false if one is not among the routed ids.
  bool Count(int64_t t, const Batch& batch,
             const std::vector<PackedIds>& routed, TableSums* table) const {
    table->sums.dim = dims_[t];
    table->kept.assign(num_shards(), 0);
    for (const PackedIds& ids : routed) {
      table->counts.emplace_back(ids.sizes[tables_[t]], 0);
      table->seen.emplace_back(ids.sizes[tables_[t]], 0);
    }
    for (int64_t f = 0; f < num_features(); ++f) {
      if (table_of(f) != tables_[t]) continue;
      if (!CountFeature(f, batch, table)) return false;
      if (!min_counts_.empty() && min_counts_[f] > 0) {
        BringMinCounts(f, batch, table);
      }
      table->num_ids += batch.sizes[f];
    }
    bool drops = false;
    for (int64_t s = 0; s < num_shards(); ++s) {
      for (const int64_t count : table->counts[s]) table->kept[s] += count > 0;
      const auto size = static_cast<int64_t>(table->counts[s].size());
      drops = drops || table->kept[s] < size;
    }
    if (!drops) return true;
    for (int64_t s = 0; s < num_shards(); ++s) {
      std::vector<int64_t>& moved = table->sums.moved.emplace_back();
      int64_t next = 0;
      for (const int64_t count : table->counts[s]) {
        moved.push_back(count > 0 ? next++ : -1);
      }
    }
    return true;
  }

  bool CountFeature(int64_t f, const Batch& batch, TableSums* table) const {
    const FeatureLists& lists = batch.lists[f];
    const bool is_cut = combiner(f).kind() == Combiner::Kind::kFirstN;
    for (int64_t list = 0; list < lists.num_lists; ++list) {
      int64_t of_list = 0;
      for (int64_t i = lists.Begin(list); i < lists.End(list); ++i) {
        const int64_t place = batch.places[f][i];
        if (place < 0) continue;
        const int64_t shard = PlaceShard(place);
        if (shard >= num_shards()) return false;
        std::vector<int64_t>& counts = table->counts[shard];
        const int64_t index = PlaceIndex(place);
        if (index >= static_cast<int64_t>(counts.size())) return false;
        ++counts[index];
        ++of_list;
      }
      if (is_cut && of_list > combiner(f).vectors_per_list()) return false;
    }
    return true;
  }

  // Notes what a feature brings for its ids, whose places CountFeature checked.
  void BringMinCounts(int64_t f, const Batch& batch, TableSums* table) const {
    if (table->min_counts.empty()) {
      for (const std::vector<int64_t>& counts : table->counts) {
        table->min_counts.emplace_back(counts.size(), 0);
      }
    }
    for (int64_t i = 0; i < batch.sizes[f]; ++i) {
      const int64_t place = batch.places[f][i];
      if (place < 0) continue;
      BringMinCount(min_counts_[f],
                    &table->min_counts[PlaceShard(place)][PlaceIndex(place)]);
    }
  }

  // Each sum is made by one thread in the order of the batch, so threads do not
  // change a bit.
  void Sum(const Batch& batch, int64_t part, int64_t num_parts, int64_t t,
           TableSums* table) const {
    for (int64_t f = 0; f < num_features(); ++f) {
      if (table_of(f) != tables_[t]) continue;
      combiner(f).AddGradients(batch.lists[f], batch.places[f],
                               batch.weights[f], batch.gradients[f], part,
                               num_parts, &table->seen, table->sums);
    }
  }

  std::vector<int64_t> tables_;
  std::vector<int64_t> dims_;
  std::vector<bool> weighted_;
  // Per feature, or empty.
  std::vector<int64_t> min_counts_;
  // Per table of the lookup its number among `tables_`, or -1.
  std::vector<int64_t> number_of_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithCombineGradients").Device(DEVICE_CPU),
                        CombineGradientsOp);

}  // namespace
}  // namespace monolith_tf
