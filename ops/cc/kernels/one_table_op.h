// one_table_op.h: the base of kernels that run on one table.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_ONE_TABLE_OP_H_
#define MONOLITH_TF_OPS_CC_KERNELS_ONE_TABLE_OP_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/kernels/inputs.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// The table is named by the attribute `table`. A kernel holds a shared pointer
// to it while it runs, so dropping the table waits for no kernel.
class OneTableOp : public TableSetOp {
 public:
  explicit OneTableOp(tensorflow::OpKernelConstruction* context)
      : TableSetOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("table", &name_));
  }

 protected:
  virtual absl::Status RunOnTable(tensorflow::OpKernelContext* context,
                                  TableSetResource* set, Table* table) = 0;

  absl::Status Run(tensorflow::OpKernelContext* context,
                   TableSetResource* set) final {
    std::shared_ptr<Table> table;
    TF_RETURN_IF_ERROR(FindTable(context, set, name_, &table));
    return RunOnTable(context, set, table.get());
  }

  const std::string& name() const { return name_; }

  // `status`, with the table's name in front of the message of an error.
  absl::Status Named(const absl::Status& status) const {
    return Of(absl::StrCat("Table '", name_, "'"), status);
  }

  // Input `ids`, `[n]`.
  absl::Status GetIds(tensorflow::OpKernelContext* context,
                      const tensorflow::Tensor** ids) const {
    return Named(GetVector(context, "ids", ids));
  }

  static constexpr int64_t kAnyWidth = -1;

  // Inputs `ids`, `[n]`, and `rows`, `[n, width]`.
  absl::Status GetIdsAndRows(tensorflow::OpKernelContext* context,
                             int64_t width, const tensorflow::Tensor** ids,
                             const tensorflow::Tensor** rows) const {
    TF_RETURN_IF_ERROR(GetIds(context, ids));
    TF_RETURN_IF_ERROR(context->input("rows", rows));
    const int64_t n = (*ids)->dim_size(0);
    if ((*rows)->dims() == 2 && (*rows)->dim_size(0) == n &&
        (width == kAnyWidth || (*rows)->dim_size(1) == width)) {
      return absl::OkStatus();
    }
    return Named(absl::InvalidArgumentError(absl::StrCat(
        "rows must be [", n, ", ",
        width == kAnyWidth ? std::string("dim") : absl::StrCat(width),
        "] for ids [", n, "]. Received: shape ", (*rows)->shape().DebugString(),
        ".")));
  }

 private:
  std::string name_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_ONE_TABLE_OP_H_
