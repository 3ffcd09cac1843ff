// Kernels that turn the ids of all features into their vectors: route ids to
// shards, then combine the rows that come back.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/features/combiner.h"
#include "ops/cc/features/id_router.h"
#include "ops/cc/kernels/feature_kernel.h"
#include "ops/cc/kernels/feature_lists.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/parallel.h"
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

class PartitionOp : public FeatureKernel {
 public:
  explicit PartitionOp(OpKernelConstruction* context) : FeatureKernel(context) {
    if (!context->status().ok()) return;
    OP_REQUIRES_OK(context,
                   GetEntries(context, "padded", num_features(), &padded_));
    OP_REQUIRES_OK(context, GetEntries(context, "padding_ids", num_features(),
                                       &padding_ids_));
    OP_REQUIRES_OK(context, context->GetAttr("distinct", &distinct_));
  }

 protected:
  absl::Status Run(OpKernelContext* context) override {
    WorkerCounters::Get().RowsAskedFor(context->step_id());
    Batch batch;
    TF_RETURN_IF_ERROR(GetBatch(context, "ids", &batch));
    OpOutputList packed;
    OpOutputList positions;
    TF_RETURN_IF_ERROR(context->output_list("packed", &packed));
    TF_RETURN_IF_ERROR(context->output_list("positions", &positions));
    std::vector<Tensor*> places(num_features());
    for (int64_t f = 0; f < num_features(); ++f) {
      TF_RETURN_IF_ERROR(
          positions.allocate(f, batch.ids[f].shape(), &places[f]));
    }
    std::vector<IdRouter> routers(
        num_tables(), IdRouter(static_cast<int>(num_shards()), distinct_));
    const auto route_tables = [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        RouteTable(t, batch, places, &routers[t]);
      }
    };
    const int64_t num_threads = NumThreadsFor(context, batch.num_ids);
    ForEachBlock(context, num_tables(), num_threads == 1 ? num_tables() : 1,
                 route_tables);
    return Pack(routers, &packed);
  }

 private:
  void RouteTable(int64_t table, const Batch& batch,
                  const std::vector<Tensor*>& places, IdRouter* router) const {
    int64_t num_ids = 0;
    for (int64_t f = 0; f < num_features(); ++f) {
      if (table_of(f) == table) num_ids += batch.ids[f].NumElements();
    }
    router->Start(num_ids);
    for (int64_t f = 0; f < num_features(); ++f) {
      if (table_of(f) != table) continue;
      const int64_t* const feature_ids = batch.data(f);
      const int64_t n = batch.ids[f].NumElements();
      int64_t* const feature_places = places[f]->flat<int64_t>().data();
      if (padded_[f] || combiner(f).kind() == Combiner::Kind::kFirstN) {
        RouteSome(f, batch.lists[f], feature_ids, n, feature_places, router);
      } else {
        router->Add(feature_ids, n, feature_places);
      }
    }
  }

  // Routes the ids of a feature except padding and what first_n cuts off.
  void RouteSome(int64_t f, const FeatureLists& lists, const int64_t* ids,
                 int64_t n, int64_t* places, IdRouter* router) const {
    for (int64_t i = 0; i < n; ++i) {
      places[i] = padded_[f] && ids[i] == padding_ids_[f] ? kNoPlace : 0;
    }
    combiner(f).Cut(lists, places);
    std::vector<int64_t> wanted;
    wanted.reserve(n);
    for (int64_t i = 0; i < n; ++i) {
      if (places[i] >= 0) wanted.push_back(ids[i]);
    }
    std::vector<int64_t> wanted_places(wanted.size());
    router->Add(wanted.data(), wanted.size(), wanted_places.data());
    const int64_t* next = wanted_places.data();
    for (int64_t i = 0; i < n; ++i) {
      if (places[i] >= 0) places[i] = *next++;
    }
  }

  absl::Status Pack(const std::vector<IdRouter>& routers,
                    OpOutputList* packed) const {
    std::vector<int64_t*> out(num_shards());
    for (int64_t s = 0; s < num_shards(); ++s) {
      int64_t total = 0;
      for (const IdRouter& router : routers) total += router.shard_sizes()[s];
      Tensor* tensor = nullptr;
      TF_RETURN_IF_ERROR(
          packed->allocate(s, TensorShape({num_tables() + total}), &tensor));
      out[s] = tensor->flat<int64_t>().data();
      for (const IdRouter& router : routers) {
        *out[s]++ = router.shard_sizes()[s];
      }
    }
    for (const IdRouter& router : routers) {
      const std::vector<int64_t>& distinct = router.distinct_ids();
      if (num_shards() == 1) {
        out[0] = std::copy(distinct.begin(), distinct.end(), out[0]);
        continue;
      }
      for (int64_t i = 0; i < router.num_distinct(); ++i) {
        *out[PlaceShard(router.PlaceOf(i))]++ = distinct[i];
      }
    }
    return absl::OkStatus();
  }

  std::vector<bool> padded_;
  std::vector<int64_t> padding_ids_;
  bool distinct_;
};

class CombineOp : public FeatureKernel {
 public:
  explicit CombineOp(OpKernelConstruction* context) : FeatureKernel(context) {
    if (!context->status().ok()) return;
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
    OP_REQUIRES_OK(context, CheckDims(dims_, num_tables()));
  }

 protected:
  absl::Status Run(OpKernelContext* context) override {
    OpInputList packed;
    OpInputList shard_rows;
    TF_RETURN_IF_ERROR(context->input_list("packed", &packed));
    TF_RETURN_IF_ERROR(context->input_list("shard_rows", &shard_rows));
    std::vector<ShardedRows> rows;
    TF_RETURN_IF_ERROR(GetRows(packed, shard_rows, &rows));
    Batch batch;
    TF_RETURN_IF_ERROR(GetBatch(context, "positions", &batch));
    OpOutputList outputs;
    TF_RETURN_IF_ERROR(context->output_list("vectors", &outputs));

    if (AreVectors(batch, rows)) {
      TensorShape shape;
      TF_RETURN_IF_ERROR(OutputShape(batch.ids[0].shape(), combiner(0),
                                     batch.lists[0], dims_[0], &shape));
      Tensor vectors;
      if (!vectors.CopyFrom(shard_rows[0], shape)) {
        return absl::InternalError("rows and positions do not fit.");
      }
      outputs.set(0, vectors);
      WorkerCounters::Get().RowsHaveCome(context->step_id());
      return absl::OkStatus();
    }
    std::vector<float*> vectors(num_features());
    // Threads share the lists of all features, numbered one after the other.
    std::vector<int64_t> first_list(num_features() + 1, 0);
    for (int64_t f = 0; f < num_features(); ++f) {
      TensorShape shape;
      TF_RETURN_IF_ERROR(OutputShape(batch.ids[f].shape(), combiner(f),
                                     batch.lists[f], dims_[table_of(f)],
                                     &shape));
      Tensor* output = nullptr;
      TF_RETURN_IF_ERROR(outputs.allocate(f, shape, &output));
      vectors[f] = output->flat<float>().data();
      first_list[f + 1] = first_list[f] + batch.lists[f].num_lists;
    }
    std::atomic<int64_t> wrong{num_features()};
    const int64_t num_threads = NumThreadsFor(context, batch.num_ids);
    const int64_t num_lists = first_list.back();
    const int64_t block = num_threads == 1 ? num_lists
                                           : (num_lists + 4 * num_threads - 1) /
                                                 (4 * num_threads);
    ForEachBlock(context, num_lists, block, [&](int64_t begin, int64_t end) {
      int64_t f =
          std::upper_bound(first_list.begin(), first_list.end(), begin) -
          first_list.begin() - 1;
      for (; f < num_features() && first_list[f] < end; ++f) {
        const int64_t wrong_position = combiner(f).Combine(
            batch.lists[f], batch.data(f), batch.weights[f], rows[table_of(f)],
            std::max(begin, first_list[f]) - first_list[f],
            std::min(end, first_list[f + 1]) - first_list[f], vectors[f]);
        if (wrong_position < 0) continue;
        int64_t least = wrong.load();
        while (f < least && !wrong.compare_exchange_weak(least, f)) {
        }
      }
    });
    if (wrong != num_features()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "positions of feature number ", wrong.load(),
          " must be those that MonolithPartition returned with packed. "
          "Received: positions of other ids."));
    }
    WorkerCounters::Get().RowsHaveCome(context->step_id());
    return absl::OkStatus();
  }

 private:
  // The rows of the only shard are already the vectors of the only feature, so
  // no copy is needed: its ids are distinct, or were not made distinct.
  bool AreVectors(const Batch& batch,
                  const std::vector<ShardedRows>& rows) const {
    const int64_t n = batch.ids[0].NumElements();
    if (num_shards() != 1 || num_features() != 1 || num_tables() != 1 ||
        combiner(0).kind() != Combiner::Kind::kNone || is_weighted(0) ||
        rows[0].sizes[0] != n) {
      return false;
    }
    const int64_t* const places = batch.data(0);
    for (int64_t i = 0; i < n; ++i) {
      if (places[i] != MakePlace(0, i)) return false;
    }
    return true;
  }

  absl::Status GetRows(const OpInputList& packed, const OpInputList& shard_rows,
                       std::vector<ShardedRows>* rows) const {
    rows->resize(num_tables());
    for (int64_t s = 0; s < num_shards(); ++s) {
      PackedIds parts;
      TF_RETURN_IF_ERROR(PackedIds::Parse(packed[s], /*prefix=*/0, num_tables(),
                                          /*columns=*/1, &parts));
      int64_t floats = 0;
      for (int64_t t = 0; t < num_tables(); ++t) {
        floats += parts.sizes[t] * dims_[t];
      }
      if (shard_rows[s].NumElements() != floats) {
        return absl::InvalidArgumentError(absl::StrCat(
            "shard_rows of shard ", s, " must have ", floats,
            " floats. Received: ", shard_rows[s].NumElements(), "."));
      }
      const float* base = shard_rows[s].flat<float>().data();
      for (int64_t t = 0; t < num_tables(); ++t) {
        (*rows)[t].dim = dims_[t];
        (*rows)[t].bases.push_back(base);
        (*rows)[t].sizes.push_back(parts.sizes[t]);
        base += parts.sizes[t] * dims_[t];
      }
    }
    return absl::OkStatus();
  }

  std::vector<int64_t> dims_;
};

class AttachOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor* vectors = nullptr;
    OP_REQUIRES_OK(context, context->input("vectors", &vectors));
    OP_REQUIRES_OK(context, context->set_output("output", *vectors));
  }
};

// Checks that weights and ids have the same places.
class CheckedWeightsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor* weights = nullptr;
    const Tensor* places = nullptr;
    const Tensor* expected = nullptr;
    OP_REQUIRES_OK(context, context->input("weights", &weights));
    OP_REQUIRES_OK(context, context->input("places", &places));
    OP_REQUIRES_OK(context, context->input("expected", &expected));
    OP_REQUIRES(
        context,
        places->shape() == expected->shape() &&
            places->tensor_data() == expected->tensor_data(),
        absl::InvalidArgumentError(
            "weights must stand where ids stand: row splits (of sparse tensors "
            "the indices) of the ids and of the weights differ."));
    OP_REQUIRES_OK(context, context->set_output("output", *weights));
  }
};

class SparseSplitsOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    OpInputList indices;
    OpInputList shapes;
    OpOutputList splits;
    OP_REQUIRES_OK(context, context->input_list("indices", &indices));
    OP_REQUIRES_OK(context, context->input_list("dense_shapes", &shapes));
    OP_REQUIRES_OK(context, context->output_list("splits", &splits));
    for (int f = 0; f < indices.size(); ++f) {
      OP_REQUIRES_OK(context, Of(absl::StrCat("Sparse feature number ", f),
                                 SplitsOf(indices[f], shapes[f], f, &splits)));
    }
  }

 private:
  static absl::Status SplitsOf(const Tensor& indices, const Tensor& shape,
                               int feature, OpOutputList* outputs) {
    if (indices.dims() != 2 || indices.dim_size(1) != 2 || shape.dims() != 1 ||
        shape.dim_size(0) != 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("indices must be [n, 2] and dense_shape [2]. Received: "
                       "shapes ",
                       indices.shape().DebugString(), " and ",
                       shape.shape().DebugString(), "."));
    }
    const int64_t num_rows = shape.vec<int64_t>()(0);
    const int64_t n = indices.dim_size(0);
    if (num_rows < 0 || num_rows == std::numeric_limits<int64_t>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat("dense_shape must start with the number of rows. "
                       "Received: ",
                       num_rows, "."));
    }
    TensorShape splits_shape;
    TF_RETURN_IF_ERROR(splits_shape.AddDimWithStatus(num_rows + 1));
    Tensor* splits = nullptr;
    TF_RETURN_IF_ERROR(outputs->allocate(feature, splits_shape, &splits));
    int64_t* out = splits->flat<int64_t>().data();
    const int64_t* rows = indices.flat<int64_t>().data();
    int64_t next = 0;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = rows[2 * i];
      if (row < 0 || row >= num_rows || (i > 0 && row < rows[2 * i - 2])) {
        return absl::InvalidArgumentError(
            absl::StrCat("ids must be in the order of their rows, 0 to ",
                         num_rows - 1, ". Received: row ", row, " at index ", i,
                         ". Sort them with tf.sparse.reorder."));
      }
      while (next <= row) out[next++] = i;
    }
    while (next <= num_rows) out[next++] = n;
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithPartition").Device(DEVICE_CPU),
                        PartitionOp);
REGISTER_KERNEL_BUILDER(Name("MonolithCombine").Device(DEVICE_CPU), CombineOp);
REGISTER_KERNEL_BUILDER(Name("MonolithAttach").Device(DEVICE_CPU), AttachOp);
REGISTER_KERNEL_BUILDER(Name("MonolithCheckedWeights").Device(DEVICE_CPU),
                        CheckedWeightsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSparseSplits").Device(DEVICE_CPU),
                        SparseSplitsOp);

}  // namespace
}  // namespace monolith_tf
