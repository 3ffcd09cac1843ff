// Kernels that a worker runs on its own batch: route ids to shards, put rows
// together, sum and route gradients.

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/table/id_router.h"
#include "ops/cc/table/partition.h"
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

// An op with the attributes `num_tables` and `num_shards`.
class BatchOp : public OpKernel {
 public:
  explicit BatchOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("num_tables", &num_tables_));
    OP_REQUIRES_OK(context, context->GetAttr("num_shards", &num_shards_));
    OP_REQUIRES(context, num_shards_ <= kNumPartitions,
                absl::InvalidArgumentError(
                    absl::StrCat("num_shards must be at most ", kNumPartitions,
                                 ", got ", num_shards_, ".")));
  }

 protected:
  int64_t num_tables() const { return num_tables_; }
  int64_t num_shards() const { return num_shards_; }

  absl::Status CheckIds(int64_t table, const Tensor& ids) const {
    if (ids.dims() == 1) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "ids of table number ", table, " must be a vector, got shape ",
        ids.shape().DebugString(), "."));
  }

  // Numbers of ids per shard, over all tables.
  std::vector<int64_t> ShardTotals(const std::vector<IdRouter>& routers) const {
    std::vector<int64_t> totals(num_shards_, 0);
    for (const IdRouter& router : routers) {
      for (int64_t s = 0; s < num_shards_; ++s) {
        totals[s] += router.shard_sizes()[s];
      }
    }
    return totals;
  }

 private:
  int64_t num_tables_;
  int64_t num_shards_;
};

class PartitionOp : public BatchOp {
 public:
  using BatchOp::BatchOp;

  void Compute(OpKernelContext* context) override {
    OpInputList ids;
    OP_REQUIRES_OK(context, context->input_list("ids", &ids));
    OpOutputList packed;
    OP_REQUIRES_OK(context, context->output_list("packed", &packed));
    OpOutputList positions;
    OP_REQUIRES_OK(context, context->output_list("positions", &positions));
    std::vector<IdRouter> routers;
    routers.reserve(num_tables());
    for (int64_t t = 0; t < num_tables(); ++t) {
      OP_REQUIRES_OK(context, CheckIds(t, ids[t]));
      Tensor* places = nullptr;
      OP_REQUIRES_OK(context, positions.allocate(t, ids[t].shape(), &places));
      routers.emplace_back(static_cast<int>(num_shards()));
      routers[t].Route(ids[t].flat<int64_t>().data(), ids[t].NumElements(),
                       places->flat<int64_t>().data());
    }
    const std::vector<int64_t> totals = ShardTotals(routers);
    std::vector<int64_t*> out(num_shards());
    for (int64_t s = 0; s < num_shards(); ++s) {
      Tensor* tensor = nullptr;
      OP_REQUIRES_OK(
          context,
          packed.allocate(s, TensorShape({num_tables() + totals[s]}), &tensor));
      out[s] = tensor->flat<int64_t>().data();
      for (const IdRouter& router : routers) {
        *out[s]++ = router.shard_sizes()[s];
      }
    }
    for (const IdRouter& router : routers) {
      const std::vector<int64_t>& distinct = router.distinct_ids();
      const std::vector<int64_t>& places = router.distinct_places();
      for (size_t i = 0; i < distinct.size(); ++i) {
        *out[PlaceShard(places[i])]++ = distinct[i];
      }
    }
  }
};

class GatherRowsOp : public BatchOp {
 public:
  explicit GatherRowsOp(OpKernelConstruction* context) : BatchOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
  }

  void Compute(OpKernelContext* context) override {
    OpInputList packed;
    OP_REQUIRES_OK(context, context->input_list("packed", &packed));
    OpInputList shard_rows;
    OP_REQUIRES_OK(context, context->input_list("shard_rows", &shard_rows));
    OpInputList positions;
    OP_REQUIRES_OK(context, context->input_list("positions", &positions));
    // bases[s]: rows of the table in hand among the answer of shard s.
    std::vector<PackedIds> parts(num_shards());
    std::vector<const float*> bases(num_shards());
    for (int64_t s = 0; s < num_shards(); ++s) {
      OP_REQUIRES_OK(context,
                     PackedIds::Parse(packed[s], /*prefix=*/0, num_tables(),
                                      /*columns=*/1, &parts[s]));
      int64_t floats = 0;
      for (int64_t t = 0; t < num_tables(); ++t) {
        floats += parts[s].sizes[t] * dims_[t];
      }
      OP_REQUIRES(
          context, shard_rows[s].NumElements() == floats,
          absl::InvalidArgumentError(absl::StrCat(
              "shard ", s, " answered with ", shard_rows[s].NumElements(),
              " floats, expected ", floats, ".")));
      bases[s] = shard_rows[s].flat<float>().data();
    }
    for (int64_t t = 0; t < num_tables(); ++t) {
      const int64_t n = positions[t].NumElements();
      const int64_t dim = dims_[t];
      Tensor* rows = nullptr;
      OP_REQUIRES_OK(context,
                     context->allocate_output(t, TensorShape({n, dim}), &rows));
      float* out = rows->flat<float>().data();
      const int64_t* places = positions[t].flat<int64_t>().data();
      for (int64_t i = 0; i < n; ++i) {
        const int64_t shard = PlaceShard(places[i]);
        const int64_t index = PlaceIndex(places[i]);
        OP_REQUIRES(context,
                    shard >= 0 && shard < num_shards() && index >= 0 &&
                        index < parts[shard].sizes[t],
                    absl::InvalidArgumentError(absl::StrCat(
                        "positions[", i, "] of table number ", t,
                        " is not one that MonolithPartition gave.")));
        std::memcpy(out, bases[shard] + index * dim, dim * sizeof(float));
        out += dim;
      }
      for (int64_t s = 0; s < num_shards(); ++s) {
        bases[s] += parts[s].sizes[t] * dim;
      }
    }
  }

 private:
  std::vector<int64_t> dims_;
};

class PartitionGradientsOp : public BatchOp {
 public:
  using BatchOp::BatchOp;

  void Compute(OpKernelContext* context) override {
    const Tensor& global_step = context->input(0);
    const Tensor& event_time = context->input(1);
    const Tensor& learning_rates = context->input(2);
    OP_REQUIRES(context, global_step.dims() == 0 && event_time.dims() == 0,
                absl::InvalidArgumentError(absl::StrCat(
                    "`global_step` and `event_time` must be scalars, got ",
                    global_step.shape().DebugString(), " and ",
                    event_time.shape().DebugString(), ".")));
    OP_REQUIRES(context, learning_rates.NumElements() == num_tables(),
                absl::InvalidArgumentError(absl::StrCat(
                    "`learning_rates` must be [", num_tables(), "], got ",
                    learning_rates.shape().DebugString(), ".")));
    OpInputList ids;
    OP_REQUIRES_OK(context, context->input_list("ids", &ids));
    OpInputList gradients;
    OP_REQUIRES_OK(context, context->input_list("gradients", &gradients));
    OpOutputList packed;
    OP_REQUIRES_OK(context, context->output_list("packed", &packed));
    OpOutputList values;
    OP_REQUIRES_OK(context, context->output_list("values", &values));

    std::vector<IdRouter> routers;
    std::vector<int64_t> dims(num_tables());
    routers.reserve(num_tables());
    for (int64_t t = 0; t < num_tables(); ++t) {
      OP_REQUIRES_OK(context, CheckIds(t, ids[t]));
      const int64_t n = ids[t].NumElements();
      OP_REQUIRES(context,
                  gradients[t].dims() == 2 && gradients[t].dim_size(0) == n,
                  absl::InvalidArgumentError(absl::StrCat(
                      "gradients of table number ", t, " must be [", n,
                      ", dim] for ids ", ids[t].shape().DebugString(), ", got ",
                      gradients[t].shape().DebugString(), ".")));
      dims[t] = gradients[t].dim_size(1);
      routers.emplace_back(static_cast<int>(num_shards()));
      routers[t].Route(ids[t].flat<int64_t>().data(), n, nullptr);
    }

    const std::vector<int64_t> totals = ShardTotals(routers);
    std::vector<int64_t*> out_ids(num_shards());
    std::vector<int64_t*> out_counts(num_shards());
    std::vector<float*> out_values(num_shards());
    for (int64_t s = 0; s < num_shards(); ++s) {
      Tensor* integers = nullptr;
      OP_REQUIRES_OK(
          context,
          packed.allocate(s, TensorShape({2 + num_tables() + 2 * totals[s]}),
                          &integers));
      int64_t floats = num_tables();
      int64_t* out = integers->flat<int64_t>().data();
      *out++ = global_step.scalar<int64_t>()();
      *out++ = event_time.scalar<int64_t>()();
      for (int64_t t = 0; t < num_tables(); ++t) {
        *out++ = routers[t].shard_sizes()[s];
        floats += routers[t].shard_sizes()[s] * dims[t];
      }
      out_ids[s] = out;
      out_counts[s] = out + totals[s];
      Tensor* reals = nullptr;
      OP_REQUIRES_OK(context,
                     values.allocate(s, TensorShape({floats}), &reals));
      out_values[s] = reals->flat<float>().data();
      std::copy_n(learning_rates.flat<float>().data(), num_tables(),
                  out_values[s]);
      out_values[s] += num_tables();
      std::fill_n(out_values[s], floats - num_tables(), 0.0f);
    }

    for (int64_t t = 0; t < num_tables(); ++t) {
      const IdRouter& router = routers[t];
      const std::vector<int64_t>& places = router.distinct_places();
      for (size_t i = 0; i < places.size(); ++i) {
        const int64_t shard = PlaceShard(places[i]);
        const int64_t index = PlaceIndex(places[i]);
        out_ids[shard][index] = router.distinct_ids()[i];
        out_counts[shard][index] = router.counts()[i];
      }
      const int64_t dim = dims[t];
      const float* gradient = gradients[t].flat<float>().data();
      for (const int64_t distinct : router.distinct_index()) {
        const int64_t place = places[distinct];
        float* sum = out_values[PlaceShard(place)] + PlaceIndex(place) * dim;
        for (int64_t d = 0; d < dim; ++d) sum[d] += gradient[d];
        gradient += dim;
      }
      for (int64_t s = 0; s < num_shards(); ++s) {
        const int64_t n = router.shard_sizes()[s];
        out_ids[s] += n;
        out_counts[s] += n;
        out_values[s] += n * dim;
      }
    }
  }
};

class AttachOp : public OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) override {
    const Tensor& anchor = context->input(0);
    const Tensor& rows = context->input(1);
    const Tensor& ids = context->input(2);
    OP_REQUIRES(
        context,
        anchor.dims() == 2 && rows.dims() == 2 && ids.dims() == 1 &&
            rows.dim_size(0) == ids.dim_size(0) &&
            rows.dim_size(1) == anchor.dim_size(1),
        absl::InvalidArgumentError(absl::StrCat(
            "`rows` must be [n, dim] for `anchor` [0, dim] and `ids` "
            "[n], got ",
            rows.shape().DebugString(), ", ", anchor.shape().DebugString(),
            " and ", ids.shape().DebugString(), ".")));
    context->set_output(0, rows);
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithPartition").Device(DEVICE_CPU),
                        PartitionOp);
REGISTER_KERNEL_BUILDER(Name("MonolithGatherRows").Device(DEVICE_CPU),
                        GatherRowsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithPartitionGradients").Device(DEVICE_CPU),
                        PartitionGradientsOp);
REGISTER_KERNEL_BUILDER(Name("MonolithAttach").Device(DEVICE_CPU), AttachOp);

}  // namespace
}  // namespace monolith_tf
