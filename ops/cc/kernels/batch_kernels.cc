// Kernels that a worker runs on its own batch: route ids to shards, put rows
// together, sum and route gradients.

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/table/copy_floats.h"
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

  std::vector<IdRouter> MakeRouters() const {
    return std::vector<IdRouter>(num_tables_,
                                 IdRouter(static_cast<int>(num_shards_)));
  }

  // Calls work(t) for every table, at once when there are many ids in all.
  void ForEachTable(OpKernelContext* context, int64_t num_ids,
                    const std::function<void(int64_t)>& work) const {
    const int64_t num_threads = NumThreadsFor(context, num_ids);
    ForEachBlock(context, num_tables_, num_threads == 1 ? num_tables_ : 1,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t t = begin; t < end; ++t) work(t);
                 });
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
    std::vector<Tensor*> places(num_tables());
    int64_t num_ids = 0;
    for (int64_t t = 0; t < num_tables(); ++t) {
      OP_REQUIRES_OK(context, CheckIds(t, ids[t]));
      OP_REQUIRES_OK(context,
                     positions.allocate(t, ids[t].shape(), &places[t]));
      num_ids += ids[t].NumElements();
    }
    std::vector<IdRouter> routers = MakeRouters();
    ForEachTable(context, num_ids, [&](int64_t t) {
      routers[t].Route(ids[t].flat<int64_t>().data(), ids[t].NumElements(),
                       places[t]->flat<int64_t>().data());
    });
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
      for (int64_t i = 0; i < router.num_distinct(); ++i) {
        *out[PlaceShard(router.PlaceOf(i))]++ = distinct[i];
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
      // The least position that is wrong.
      std::atomic<int64_t> wrong{n};
      ForEachRange(context, n, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t shard = PlaceShard(places[i]);
          const int64_t index = PlaceIndex(places[i]);
          if (shard < 0 || shard >= num_shards() ||
              index >= parts[shard].sizes[t]) {
            int64_t least = wrong.load();
            while (i < least && !wrong.compare_exchange_weak(least, i)) {
            }
            return;
          }
          CopyFloats(bases[shard] + index * dim, dim, out + i * dim);
        }
      });
      OP_REQUIRES(context, wrong == n,
                  absl::InvalidArgumentError(absl::StrCat(
                      "positions[", wrong.load(), "] of table number ", t,
                      " is not one that MonolithPartition gave.")));
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

    std::vector<int64_t> dims(num_tables());
    int64_t num_ids = 0;
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
      num_ids += n;
    }
    std::vector<IdRouter> routers = MakeRouters();
    ForEachTable(context, num_ids, [&](int64_t t) {
      routers[t].RouteAndCount(ids[t].flat<int64_t>().data(),
                               ids[t].NumElements());
    });

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
    }

    for (int64_t t = 0; t < num_tables(); ++t) {
      const IdRouter& router = routers[t];
      for (int64_t i = 0; i < router.num_distinct(); ++i) {
        const int64_t shard = PlaceShard(router.PlaceOf(i));
        const int64_t index = PlaceIndex(router.PlaceOf(i));
        out_ids[shard][index] = router.distinct_ids()[i];
        out_counts[shard][index] = router.counts()[i];
      }
      const int64_t dim = dims[t];
      const float* const gradient = gradients[t].flat<float>().data();
      const int64_t num_parts = NumThreadsFor(context, ids[t].NumElements());
      ForEachBlock(context, num_parts, 1, [&](int64_t part, int64_t) {
        SumPart(router, gradient, dim, part, num_parts, out_values);
      });
      for (int64_t s = 0; s < num_shards(); ++s) {
        const int64_t n = router.shard_sizes()[s];
        out_ids[s] += n;
        out_counts[s] += n;
        out_values[s] += n * dim;
      }
    }
  }

 private:
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
