// The two kernels that a training step runs on a server, for all of its tables:
// they look rows up, and apply gradients.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/server_counters.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

// An op on several tables, named by the attributes `tables` and `dims`.
class ManyTablesOp : public OpKernel {
 public:
  explicit ManyTablesOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tables", &names_));
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
    OP_REQUIRES_OK(context, CheckDims(dims_, num_tables()));
  }

 protected:
  int64_t num_tables() const { return names_.size(); }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<int64_t>& dims() const { return dims_; }

  absl::Status FindTables(OpKernelContext* context, TableSetResource* resource,
                          std::vector<std::shared_ptr<Table>>* tables) const {
    tables->resize(names_.size());
    for (size_t t = 0; t < names_.size(); ++t) {
      TF_RETURN_IF_ERROR(FindTableOfDim(context, resource, names_[t], dims_[t],
                                        &(*tables)[t]));
    }
    return absl::OkStatus();
  }

  // Floats that the rows of all tables take.
  int64_t NumFloats(const PackedIds& packed) const {
    int64_t floats = 0;
    for (size_t t = 0; t < dims_.size(); ++t) {
      floats += packed.sizes[t] * dims_[t];
    }
    return floats;
  }

 private:
  std::vector<std::string> names_;
  std::vector<int64_t> dims_;
};

class LookupOp : public ManyTablesOp {
 public:
  using ManyTablesOp::ManyTablesOp;

  void Compute(OpKernelContext* context) override {
    CountedCall call(&ServerCounters::Get().lookup);
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::vector<std::shared_ptr<Table>> tables;
    OP_REQUIRES_OK(context, FindTables(context, resource.get(), &tables));
    PackedIds packed;
    OP_REQUIRES_OK(
        context, PackedIds::Parse(context->input(1), /*prefix=*/0, num_tables(),
                                  /*columns=*/1, &packed));
    Tensor* rows = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(
                                0, TensorShape({NumFloats(packed)}), &rows));
    call.Add(packed.total, context->input(1).TotalBytes() + rows->TotalBytes());
    std::vector<float*> out = {rows->flat<float>().data()};
    for (int64_t t = 0; t < num_tables(); ++t) {
      out.push_back(out[t] + packed.sizes[t] * dims()[t]);
    }
    const bool is_large =
        static_cast<int64_t>(rows->TotalBytes()) >= kMinStreamedBytes;
    // Ids of all tables stand behind each other: a range may be of several.
    ForEachRange(context, packed.total, [&](int64_t begin, int64_t end) {
      for (int64_t t = packed.TableOf(begin); begin < end; ++t) {
        const int64_t first = packed.offsets[t];
        const int64_t n = std::min(end, first + packed.sizes[t]) - begin;
        tables[t]->Lookup(packed.columns + begin, n,
                          out[t] + (begin - first) * dims()[t],
                          /*exists=*/nullptr, is_large);
        begin += n;
      }
    });
  }
};

class ApplyOp : public ManyTablesOp {
 public:
  using ManyTablesOp::ManyTablesOp;

  void Compute(OpKernelContext* context) override {
    CountedCall call(&ServerCounters::Get().apply);
    TableSetPtr resource;
    OP_REQUIRES_OK(context, FindTableSet(context, &resource));
    std::vector<std::shared_ptr<Table>> tables;
    OP_REQUIRES_OK(context, FindTables(context, resource.get(), &tables));
    PackedIds packed;
    OP_REQUIRES_OK(
        context, PackedIds::Parse(context->input(1), /*prefix=*/2, num_tables(),
                                  /*columns=*/2, &packed));
    const Tensor& values = context->input(2);
    call.Add(packed.total,
             context->input(1).TotalBytes() + values.TotalBytes());
    int64_t num_segments = 0;
    for (const auto& table : tables) num_segments += table->num_segments();
    const int64_t num_values = num_segments + NumFloats(packed);
    OP_REQUIRES(
        context, values.dims() == 1 && values.NumElements() == num_values,
        absl::InvalidArgumentError(absl::StrCat(
            "`values` must be [", num_values, "] (", num_segments,
            " learning rates, one a segment, then the gradients of ",
            packed.total, " ids), got ", values.shape().DebugString(), ".")));
    const float* learning_rates = values.flat<float>().data();
    const float* gradients = learning_rates + num_segments;
    const StampedTime time(packed.prefix[1]);
    std::vector<ApplyRequest> requests(num_tables());
    for (int64_t t = 0; t < num_tables(); ++t) {
      ApplyRequest& request = requests[t];
      request.ids = packed.columns + packed.offsets[t];
      request.counts = packed.columns + packed.total + packed.offsets[t];
      request.gradients = gradients;
      request.n = packed.sizes[t];
      request.global_step = packed.prefix[0];
      request.event_time = time.event_time;
      request.learning_rates = learning_rates;
      learning_rates += tables[t]->num_segments();
      gradients += request.n * dims()[t];
      // All tables are checked before the first row of any changes.
      OP_REQUIRES_OK(context, tables[t]->Check(request));
    }
    // From here on only memory can end; then a part is applied, and a repeat
    // would step it again.
    if (!resource->requests().Begin(time)) return;
    CheckGradients(context, packed, &requests);
    OP_REQUIRES_OK(context, ApplyAll(context, packed, tables, requests));
  }

 private:
  // Finds the tables all of whose gradients are good.
  void CheckGradients(OpKernelContext* context, const PackedIds& packed,
                      std::vector<ApplyRequest>* requests) const {
    std::vector<std::atomic<bool>> are_good(num_tables());
    for (std::atomic<bool>& good : are_good) good = true;
    ForEachRange(context, packed.total, [&](int64_t begin, int64_t end) {
      for (int64_t t = packed.TableOf(begin); begin < end; ++t) {
        const int64_t first = packed.offsets[t];
        const int64_t n = std::min(end, first + packed.sizes[t]) - begin;
        if (!FiniteAndBounded(
                (*requests)[t].gradients + (begin - first) * dims()[t],
                n * dims()[t])) {
          are_good[t] = false;
        }
        begin += n;
      }
    });
    for (int64_t t = 0; t < num_tables(); ++t) {
      (*requests)[t].gradients_are_good = are_good[t];
    }
  }

  // Steps the rows of all tables. Many ids of a table are worked on in parts at
  // once, tables of few ids beside each other.
  absl::Status ApplyAll(OpKernelContext* context, const PackedIds& packed,
                        const std::vector<std::shared_ptr<Table>>& tables,
                        const std::vector<ApplyRequest>& requests) const {
    struct Unit {
      int64_t table;
      StripePart part;
    };
    std::vector<Unit> units;
    std::vector<RunningUpdate> updates;
    for (int64_t t = 0; t < num_tables(); ++t) {
      updates.push_back(tables[t]->BeginParts(requests[t]));
      const auto count =
          static_cast<int>(NumThreadsFor(context, packed.sizes[t]));
      for (int part = 0; part < count; ++part) {
        units.push_back({t, StripePart{part, count}});
      }
    }
    std::vector<absl::Status> statuses(units.size());
    ForEachUnit(context, units.size(), NumThreadsFor(context, packed.total),
                [&](int64_t i) {
                  const Unit& unit = units[i];
                  statuses[i] = tables[unit.table]->ApplyPart(
                      requests[unit.table], updates[unit.table], unit.part);
                });
    // Without a cap there is nothing to wake a thread for.
    const bool has_cap =
        std::any_of(tables.begin(), tables.end(),
                    [](const auto& table) { return table->has_cap(); });
    ForEachUnit(context, num_tables(),
                has_cap ? NumThreadsFor(context, packed.total) : 1,
                [&](int64_t t) { tables[t]->EndUpdate(updates[t]); });
    for (const absl::Status& status : statuses) {
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
};

REGISTER_KERNEL_BUILDER(Name("MonolithLookup").Device(DEVICE_CPU), LookupOp);
REGISTER_KERNEL_BUILDER(Name("MonolithApply").Device(DEVICE_CPU), ApplyOp);

}  // namespace
}  // namespace monolith_tf
