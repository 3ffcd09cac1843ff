// table_set_op.h: the base of kernels that run on a server's table set.
//
//   TableSetOp            finds the set
//     OneTableOp          and the table of attribute `table` (one_table_op.h)
//     ManyTablesOp        and those of `tables` (many_tables_op.h)

#ifndef MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_OP_H_
#define MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_OP_H_

#include "absl/status/status.h"
#include "ops/cc/kernels/table_set_resource.h"
#include "ops/cc/table/restore_gate.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// A kernel holds a reference to the set while it runs. It fails with
// FailedPrecondition where the server does not have the set, and with Aborted
// while the set is being restored, unless RunsInRestore().
class TableSetOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(tensorflow::OpKernelContext* context) override {
    TableSetPtr set;
    OP_REQUIRES_OK(context, FindTableSet(context, &set));
    if (RunsInRestore()) {
      OP_REQUIRES_OK(context, Run(context, set.get()));
      return;
    }
    const GatedUse use(&set->tables().gate());
    OP_REQUIRES(context, use.is_allowed(),
                set->tables().BeingRestored(context->device()->name()));
    OP_REQUIRES_OK(context, Run(context, set.get()));
    set->tables().LimitLogs();
  }

 protected:
  // True for the kernels of a restore, and for those that report on a server.
  virtual bool RunsInRestore() const { return false; }

  virtual absl::Status Run(tensorflow::OpKernelContext* context,
                           TableSetResource* set) = 0;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_TABLE_SET_OP_H_
