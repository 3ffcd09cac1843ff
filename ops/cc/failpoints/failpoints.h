// failpoints.h: named places in the code where a test can inject a fault.
//
// They are off unless the environment variable MONOLITH_TF_FAIL_AT names them
// when the process reaches the first one:
//
//   MONOLITH_TF_FAIL_AT=import_rows.before:2:kill,take_delta.after::sleep=2
//
// An entry is name:hit:action. The hit is the number of the one that triggers,
// from 1; empty for each. The actions:
//
//   kill            SIGKILL of this process
//   raise           Internal
//   sleep=seconds   a pause
//   enospc          ResourceExhausted, as of a full disk
//   eio             Unknown, as of a failed disk
//
// The failpoints of Python (monolith_tf/failpoints/) read the same variable.
// docs/testing.md lists all.
//
// Cost: one relaxed load where failpoints are off.
// Thread safety: all functions may be called from any number of threads.

#ifndef MONOLITH_TF_OPS_CC_FAILPOINTS_FAILPOINTS_H_
#define MONOLITH_TF_OPS_CC_FAILPOINTS_FAILPOINTS_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace monolith_tf {

enum class FaultAction { kKill, kRaise, kSleep, kNoSpace, kIoError };

struct Failpoint {
  std::string name;
  // The hit that triggers, from 1; 0 for each.
  int64_t hit = 0;
  FaultAction action = FaultAction::kRaise;
  double sleep_seconds = 0;
};

// InvalidArgument for a malformed entry.
absl::StatusOr<std::vector<Failpoint>> ParseFailpoints(absl::string_view spec);

// Replaces the active failpoints of the process; hits count from 1 again. The
// empty spec turns all off. Nothing changes if `spec` is malformed.
absl::Status SetFailpoints(absl::string_view spec);

// The same with the variable, which is otherwise read at the first hit.
// InvalidArgument, also from every later hit, if the variable is malformed.
absl::Status SetFailpointsFromEnvironment();

namespace failpoints_internal {

// False once it is known that no failpoint is active.
extern std::atomic<bool> may_fail;

absl::Status Hit(const char* name);

}  // namespace failpoints_internal

// Marks a place where a test can inject a fault. `name` is a literal,
// <noun>.<moment>. InvalidArgument if the variable is malformed.
inline absl::Status FailAt(const char* name) {
  if (!failpoints_internal::may_fail.load(std::memory_order_relaxed)) {
    return absl::OkStatus();
  }
  return failpoints_internal::Hit(name);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_FAILPOINTS_FAILPOINTS_H_
