// many_tables_op.h: the base of kernels that run on several tables of a set.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_MANY_TABLES_OP_H_
#define MONOLITH_TF_OPS_CC_KERNELS_MANY_TABLES_OP_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/config/request_bounds.h"
#include "ops/cc/kernels/packed_ids.h"
#include "ops/cc/kernels/table_set_op.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// The tables are named by the attribute `tables`, their row lengths by `dims`.
// InvalidArgument where a table has another row length.
class ManyTablesOp : public TableSetOp {
 public:
  explicit ManyTablesOp(tensorflow::OpKernelConstruction* context)
      : TableSetOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tables", &names_));
    OP_REQUIRES_OK(context, context->GetAttr("dims", &dims_));
    OP_REQUIRES_OK(context, CheckDims(dims_, num_tables()));
  }

 protected:
  using Tables = std::vector<std::shared_ptr<Table>>;

  virtual absl::Status RunOnTables(tensorflow::OpKernelContext* context,
                                   TableSetResource* set,
                                   const Tables& tables) = 0;

  absl::Status Run(tensorflow::OpKernelContext* context,
                   TableSetResource* set) final {
    Tables tables(names_.size());
    for (size_t t = 0; t < names_.size(); ++t) {
      TF_RETURN_IF_ERROR(FindTable(context, set, names_[t], &tables[t]));
      TF_RETURN_IF_ERROR(
          CheckTableDim(context, names_[t], *tables[t], dims_[t]));
    }
    return RunOnTables(context, set, tables);
  }

  int64_t num_tables() const { return names_.size(); }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<int64_t>& dims() const { return dims_; }

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

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_MANY_TABLES_OP_H_
