// Work of kernels on TensorFlow's threads.

#ifndef MONOLITH_TF_OPS_CC_KERNELS_PARALLEL_H_
#define MONOLITH_TF_OPS_CC_KERNELS_PARALLEL_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "ops/cc/kernels/unit_queue.h"
#include "ops/cc/table/table.h"
#include "tensorflow/core/framework/device_base.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace monolith_tf {

// Fewer ids, below 100 us of work, are not worth another thread.
inline constexpr int64_t kMinIdsPerThread = 4096;

// The number of threads of the device's intra-op pool to use for `n` ids, with
// the caller's: 1 to 64.
inline int64_t NumThreadsFor(tensorflow::OpKernelContext* context, int64_t n) {
  const int64_t num_threads =
      context->device()->tensorflow_cpu_worker_threads()->num_threads;
  return std::clamp<int64_t>(std::min(num_threads, n / kMinIdsPerThread), 1,
                             64);
}

// Calls work(unit) for the units [0, num_units), in parallel on up to
// `num_threads` of the device's intra-op threads, and returns when all are
// done. A thread that finishes a unit takes the next, so units may differ in
// length.
inline void ForEachUnit(tensorflow::OpKernelContext* context, int64_t num_units,
                        int64_t num_threads,
                        const std::function<void(int64_t)>& work) {
  UnitQueue::Run(context->device()->tensorflow_cpu_worker_threads()->workers,
                 num_units, num_threads, work);
}

// Calls work(begin, end) for blocks of `block` that cover [0, n), in parallel
// on the device's intra-op threads, and returns when all are done.
inline void ForEachBlock(tensorflow::OpKernelContext* context, int64_t n,
                         int64_t block,
                         const std::function<void(int64_t, int64_t)>& work) {
  if (n <= block) {
    if (n > 0) work(0, n);
    return;
  }
  ForEachUnit(context, (n + block - 1) / block,
              context->device()->tensorflow_cpu_worker_threads()->num_threads,
              [&](int64_t unit) {
                work(unit * block, std::min(n, (unit + 1) * block));
              });
}

// The same with about eight blocks per thread, for work on independent ids:
// blocks remain for a thread that starts late.
inline void ForEachRange(tensorflow::OpKernelContext* context, int64_t n,
                         const std::function<void(int64_t, int64_t)>& work) {
  const int64_t num_threads = NumThreadsFor(context, n);
  if (num_threads == 1) return ForEachBlock(context, n, n, work);
  const int64_t block = (n + 8 * num_threads - 1) / (8 * num_threads);
  ForEachBlock(context, n, std::max(block, kMinIdsPerThread), work);
}

// Calls work(part) for the parts of a table's stripes, in parallel if `n`, the
// number of ids, is large. Returns the first error.
inline absl::Status InParts(
    tensorflow::OpKernelContext* context, int64_t n,
    const std::function<absl::Status(StripePart)>& work) {
  const int64_t num_parts = NumThreadsFor(context, n);
  std::vector<absl::Status> statuses(num_parts);
  ForEachBlock(context, num_parts, 1, [&](int64_t part, int64_t) {
    statuses[part] =
        work(StripePart{static_cast<int>(part), static_cast<int>(num_parts)});
  });
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_KERNELS_PARALLEL_H_
