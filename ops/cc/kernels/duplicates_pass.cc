// A graph optimization: lookups without a gradient keep duplicate ids.
//
// A gradient needs the distinct ids of a batch, so MonolithPartition finds them
// before the lookup, which then reads and sends each row once. If only the
// lookup uses them, and the table is in the same process, finding them takes
// longer than it saves. TensorFlow has built the gradient when this pass runs,
// and a tensor that another graph may use (as the backward pass of a
// tf.function under a tape) leaves the graph as a return value. So the users of
// the op tell.
//
// Without this pass a graph gives the same values.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "tensorflow/core/common_runtime/optimization_registry.h"
#include "tensorflow/core/graph/graph.h"
#include "tensorflow/core/util/device_name_utils.h"

namespace monolith_tf {
namespace {

using ::tensorflow::DeviceNameUtils;
using ::tensorflow::Edge;
using ::tensorflow::Graph;
using ::tensorflow::GraphOptimizationPass;
using ::tensorflow::GraphOptimizationPassOptions;
using ::tensorflow::Node;
using ::tensorflow::OptimizationPassRegistry;

// True unless a requested device belongs to another process.
bool IsLocal(const std::string& device) {
  DeviceNameUtils::ParsedName name;
  return DeviceNameUtils::ParseFullName(device, &name) &&
         (!name.has_job || name.job == "localhost");
}

bool OnlyReads(const Node& partition) {
  int num_shards = 0;
  if (!tensorflow::GetNodeAttr(partition.attrs(), "num_shards", &num_shards)
           .ok() ||
      num_shards != 1) {
    return false;
  }
  for (const Edge* edge : partition.out_edges()) {
    if (edge->IsControlEdge()) continue;
    const std::string& user = edge->dst()->type_string();
    if (user == "MonolithLookup") {
      if (!IsLocal(edge->dst()->requested_device())) return false;
    } else if (user != "MonolithCombine") {
      return false;
    }
  }
  return true;
}

class DuplicatesPass : public GraphOptimizationPass {
 public:
  absl::Status Run(const GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) {
      return absl::OkStatus();
    }
    for (Node* node : (*options.graph)->op_nodes()) {
      if (node->type_string() != "MonolithPartition" || !OnlyReads(*node)) {
        continue;
      }
      node->ClearAttr("distinct");
      node->AddAttr("distinct", false);
    }
    return absl::OkStatus();
  }
};

// Calls and branches are inlined in phase 10.
REGISTER_OPTIMIZATION(OptimizationPassRegistry::PRE_PLACEMENT, 21,
                      DuplicatesPass);

}  // namespace
}  // namespace monolith_tf
