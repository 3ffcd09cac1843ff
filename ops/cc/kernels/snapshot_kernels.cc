// Kernels that write and read the parts of a snapshot. Writing and reading take
// seconds: they run on threads of their own, so that updates and lookups find
// the server's threads free.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/failpoints/failpoints.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/snapshot_file.h"
#include "ops/cc/kernels/snapshot_slot.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/snapshot/part_reader.h"
#include "ops/cc/snapshot/part_writer.h"
#include "ops/cc/storage/file.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/platform/cpu_info.h"
#include "tensorflow/core/platform/env.h"
#include "tensorflow/core/platform/tstring.h"

namespace monolith_tf {
namespace {

using ::tensorflow::AsyncOpKernel;
using ::tensorflow::DEVICE_CPU;
using ::tensorflow::Env;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::Tensor;
using ::tensorflow::TensorShape;
using ::tensorflow::tstring;

int NumThreads() {
  return std::clamp(tensorflow::port::NumSchedulableCPUs(), 1,
                    PartWriter::kMaxThreads);
}

// Input `name`, a scalar string.
absl::Status GetText(OpKernelContext* context, const char* name,
                     std::string* text) {
  const Tensor* tensor = nullptr;
  TF_RETURN_IF_ERROR(context->input(name, &tensor));
  if (tensor->dims() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, " must be a scalar. Received: shape ",
                     tensor->shape().DebugString(), "."));
  }
  *text = tensor->scalar<tstring>()();
  return absl::OkStatus();
}

class SnapshotBeginOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  absl::Status Run(OpKernelContext* context, TableSetResource* set) override {
    int64_t parent_cut = -1;
    TF_RETURN_IF_ERROR(GetScalar(context, "parent_cut", &parent_cut));
    TF_RETURN_IF_ERROR(FailAt("snapshot_begin.before"));
    set->snapshot().Forget();
    absl::StatusOr<std::shared_ptr<TableSetSnapshot>> begun =
        set->tables().BeginSnapshot(parent_cut);
    TF_RETURN_IF_ERROR(begun.status());
    TF_RETURN_IF_ERROR(SetScalar(context, "generation", (*begun)->generation));
    (*begun)->requests = set->requests().Export();
    TF_RETURN_IF_ERROR(SetScalar(context, "from_cut", (*begun)->from_cut));
    TF_RETURN_IF_ERROR(SetScalar(context, "to_cut", (*begun)->to_cut));
    set->snapshot().Put(*std::move(begun));
    return FailAt("snapshot_begin.after");
  }
};

class SnapshotAbortOp : public TableSetOp {
 public:
  using TableSetOp::TableSetOp;

 protected:
  bool RunsInRestore() const override { return true; }

  absl::Status Run(OpKernelContext*, TableSetResource* set) override {
    set->snapshot().Abort();
    return absl::OkStatus();
  }
};

// The base of kernels that work on a thread of their own.
class SlowTableSetOp : public AsyncOpKernel {
 public:
  using AsyncOpKernel::AsyncOpKernel;

  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    auto set = std::make_shared<TableSetPtr>();
    OP_REQUIRES_OK_ASYNC(context, FindTableSet(context, set.get()), done);
    std::function<absl::Status()> work;
    OP_REQUIRES_OK_ASYNC(context, Prepare(context, set->get(), &work), done);
    Env::Default()->SchedClosure(
        [context, set, work = std::move(work), done = std::move(done)] {
          const absl::Status status = work();
          // Before the caller learns that it is over.
          set->reset();
          if (!status.ok()) context->CtxFailure(status);
          done();
        });
  }

 protected:
  // Reads the inputs and returns what to do. `set` and the kernel outlive it.
  virtual absl::Status Prepare(OpKernelContext* context, TableSetResource* set,
                               std::function<absl::Status()>* work) = 0;
};

class SnapshotWriteOp : public SlowTableSetOp {
 public:
  using SlowTableSetOp::SlowTableSetOp;

 protected:
  absl::Status Prepare(OpKernelContext* context, TableSetResource* set,
                       std::function<absl::Status()>* work) override {
    std::string path;
    std::string text;
    TF_RETURN_IF_ERROR(GetText(context, "path", &path));
    TF_RETURN_IF_ERROR(GetText(context, "snapshot_id", &text));
    std::array<uint8_t, 16> id;
    if (text.size() != id.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("snapshot_id must have ", id.size(),
                       " bytes. Received: ", text.size(), " bytes."));
    }
    std::memcpy(id.data(), text.data(), id.size());
    absl::StatusOr<SnapshotSlot::Running> taken = set->snapshot().Take();
    TF_RETURN_IF_ERROR(taken.status());
    *work = [context, path, id, running = *std::move(taken)]() mutable {
      absl::StatusOr<std::unique_ptr<FileWriter>> file =
          CreateSnapshotFile(path);
      TF_RETURN_IF_ERROR(file.status());
      const absl::StatusOr<PartSummary> written =
          PartWriter::Write(running.snapshot.get(), id, NumThreads(),
                            *running.is_cancelled, file->get());
      // Lets go of the tables before the next may begin.
      running.snapshot = nullptr;
      TF_RETURN_IF_ERROR(written.status());
      TF_RETURN_IF_ERROR(FailAt("snapshot_write.after"));
      const int64_t numbers[] = {written->bytes, int64_t{written->crc},
                                 written->num_rows, written->num_removed,
                                 written->max_copied_bytes};
      return CopyOut(context, "summary", TensorShape({5}), numbers);
    };
    return absl::OkStatus();
  }
};

class SnapshotReadOp : public SlowTableSetOp {
 public:
  explicit SnapshotReadOp(OpKernelConstruction* context)
      : SlowTableSetOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tables", &options_.tables));
    OP_REQUIRES_OK(context,
                   context->GetAttr("reads_state", &options_.reads_state));
    options_.num_threads = NumThreads();
  }

 protected:
  absl::Status Prepare(OpKernelContext* context, TableSetResource* set,
                       std::function<absl::Status()>* work) override {
    std::string path;
    TF_RETURN_IF_ERROR(GetText(context, "path", &path));
    *work = [this, context, set, path]() -> absl::Status {
      TF_RETURN_IF_ERROR(FailAt("snapshot_read.before"));
      absl::StatusOr<std::unique_ptr<FileReader>> file = OpenSnapshotFile(path);
      TF_RETURN_IF_ERROR(file.status());
      absl::StatusOr<std::unique_ptr<PartReader>> reader =
          PartReader::Open(*std::move(file));
      TF_RETURN_IF_ERROR(reader.status());
      const absl::StatusOr<PartReader::Counts> counts =
          (*reader)->ReadInto(&set->tables(), options_);
      TF_RETURN_IF_ERROR(counts.status());
      TF_RETURN_IF_ERROR(FailAt("snapshot_read.after"));
      if (options_.reads_state) {
        TF_RETURN_IF_ERROR(ReadRequests(**reader, set));
      }
      const int64_t numbers[] = {counts->num_rows, counts->num_removed};
      return CopyOut(context, "counts", TensorShape({2}), numbers);
    };
    return absl::OkStatus();
  }

 private:
  // The requests that the same shard of as many had applied. Elsewhere they
  // stay forgotten: every shard applies its own part of a request.
  static absl::Status ReadRequests(const PartReader& reader,
                                   TableSetResource* set) {
    std::vector<int64_t> requests;
    TF_RETURN_IF_ERROR(reader.ReadRequests(&requests));
    if (requests.empty() || reader.header().num_shards !=
                                static_cast<uint32_t>(set->num_shards())) {
      return absl::OkStatus();
    }
    if (reader.header().shard != static_cast<uint32_t>(set->shard())) {
      return absl::OkStatus();
    }
    return set->requests().Import(requests);
  }

  PartReader::Options options_;
};

REGISTER_KERNEL_BUILDER(Name("MonolithSnapshotBegin").Device(DEVICE_CPU),
                        SnapshotBeginOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSnapshotWrite").Device(DEVICE_CPU),
                        SnapshotWriteOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSnapshotAbort").Device(DEVICE_CPU),
                        SnapshotAbortOp);
REGISTER_KERNEL_BUILDER(Name("MonolithSnapshotRead").Device(DEVICE_CPU),
                        SnapshotReadOp);

}  // namespace
}  // namespace monolith_tf
