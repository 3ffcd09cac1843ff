// The two kernels that a training step runs on a server, each once for all
// tables: lookup and apply.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/many_tables_op.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/parallel.h"
#include "ops/cc/kernels/server_counters.h"
#include "ops/cc/kernels/stamped_time.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/table/request_log.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/logging.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DEVICE_CPU;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;

class LookupOp : public ManyTablesOp {
 public:
  using ManyTablesOp::ManyTablesOp;

  void Compute(OpKernelContext* context) override {
    const CountedCall call(&ServerCounters::Get().lookup);
    ManyTablesOp::Compute(context);
  }

 protected:
  absl::Status RunOnTables(OpKernelContext* context, TableSetResource*,
                           const Tables& tables) override {
    const Tensor* input = nullptr;
    TF_RETURN_IF_ERROR(context->input("packed", &input));
    PackedIds packed;
    TF_RETURN_IF_ERROR(PackedIds::Parse(*input, /*prefix=*/0, num_tables(),
                                        /*columns=*/1, &packed));
    Tensor* rows = nullptr;
    TF_RETURN_IF_ERROR(context->allocate_output(
        "rows", TensorShape({NumFloats(packed)}), &rows));
    ServerCounters::Get().lookup.Add(packed.total,
                                     input->TotalBytes() + rows->TotalBytes());
    std::vector<float*> out = {rows->flat<float>().data()};
    for (int64_t t = 0; t < num_tables(); ++t) {
      out.push_back(out[t] + packed.sizes[t] * dims()[t]);
    }
    const bool is_large =
        static_cast<int64_t>(rows->TotalBytes()) >= kMinStreamedBytes;
    // The ids of all tables follow one another: a range may span several.
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
    return absl::OkStatus();
  }
};

class ApplyOp : public ManyTablesOp {
 public:
  using ManyTablesOp::ManyTablesOp;

  void Compute(OpKernelContext* context) override {
    const CountedCall call(&ServerCounters::Get().apply);
    ManyTablesOp::Compute(context);
  }

 protected:
  absl::Status RunOnTables(OpKernelContext* context, TableSetResource* set,
                           const Tables& tables) override {
    const Tensor* input = nullptr;
    const Tensor* values = nullptr;
    TF_RETURN_IF_ERROR(context->input("packed", &input));
    TF_RETURN_IF_ERROR(context->input("values", &values));
    PackedIds packed;
    const int64_t prefix = StampedTime::PrefixOf(*input);
    TF_RETURN_IF_ERROR(
        PackedIds::Parse(*input, prefix, num_tables(), /*columns=*/2, &packed));
    ServerCounters::Get().apply.Add(packed.total,
                                    input->TotalBytes() + values->TotalBytes());
    int64_t num_segments = 0;
    for (const auto& table : tables) num_segments += table->num_segments();
    const int64_t num_values = num_segments + NumFloats(packed);
    if (values->dims() != 1 || values->NumElements() != num_values) {
      return absl::InvalidArgumentError(absl::StrCat(
          "values must be [", num_values, "]: ", num_segments,
          " learning rates, one per segment, then the gradients of ",
          packed.total, " ids. Received: shape ", values->shape().DebugString(),
          "."));
    }
    const float* learning_rates = values->flat<float>().data();
    const float* gradients = learning_rates + num_segments;
    const StampedTime time = StampedTime::Read(packed.prefix, prefix);
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
      // All tables are checked before a row of any of them changes.
      TF_RETURN_IF_ERROR(tables[t]->Check(request));
    }
    TF_RETURN_IF_ERROR(FailAt("apply.before"));
    // From here on only memory can run out. Then a part has been applied, and
    // a repeat must not apply it again.
    bool is_repeat = false;
    TF_RETURN_IF_ERROR(BeginRequest(context, set, time, &is_repeat));
    if (is_repeat) return absl::OkStatus();
    for (int64_t t = 0; t < num_tables(); ++t) {
      requests[t].event_time = tables[t]->AcceptTime(time.event_time);
    }
    CheckGradients(context, packed, &requests);
    TF_RETURN_IF_ERROR(ApplyAll(context, packed, tables, requests));
    return FailAt("apply.after");
  }

 private:
  // Records the update. FailedPrecondition if it is too old to know.
  absl::Status BeginRequest(OpKernelContext* context, TableSetResource* set,
                            const StampedTime& time, bool* is_repeat) const {
    if (!time.has_request) {
      set->requests().CountUpdate();
      return absl::OkStatus();
    }
    const absl::StatusOr<RequestLog::Answer> answer =
        set->requests().Begin(time.client, time.sequence);
    TF_RETURN_IF_ERROR(Of(absl::StrCat("Server ", context->device()->name()),
                          answer.status()));
    *is_repeat = *answer != RequestLog::Answer::kApply;
    if (*answer == RequestLog::Answer::kSuspectRepeat) {
      LOG(WARNING) << "Server " << context->device()->name() << " dropped "
                   << RequestLog::kSuspectRepeats
                   << " updates in a row, the last with request id "
                   << time.sequence
                   << ", because it had applied their request ids. A loop must "
                      "not count its steps from 0 again (mt.request_id).";
    }
    return absl::OkStatus();
  }

  // Finds the tables whose gradients are all finite and bounded.
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

  // Updates the rows of all tables. Threads share the ids of a table that has
  // many, and take whole tables that have few.
  absl::Status ApplyAll(OpKernelContext* context, const PackedIds& packed,
                        const Tables& tables,
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
    // Without a capacity limit there is no work that is worth a thread.
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
