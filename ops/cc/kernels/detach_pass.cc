// A graph optimization that removes MonolithAttach from graphs before they run.
//
// The op ties vectors to the variable of a table while a graph is built, for
// the gradient. In a graph that runs it only passes vectors on, but TensorFlow
// would place it on the variable's device: each feature's vectors would travel
// to a parameter server and back. So this pass replaces it by an Identity
// before devices are chosen, and the graph does not touch the variable.
//
// Without this pass a graph gives the same values, over more edges.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/common_runtime/optimization_registry.h"
#include "tensorflow/core/graph/graph.h"
#include "tensorflow/core/graph/node_builder.h"

namespace monolith_tf {
namespace {

using ::tensorflow::Edge;
using ::tensorflow::Graph;
using ::tensorflow::GraphOptimizationPass;
using ::tensorflow::GraphOptimizationPassOptions;
using ::tensorflow::Node;
using ::tensorflow::NodeBuilder;
using ::tensorflow::OptimizationPassRegistry;

// The index of input `vectors` of MonolithAttach; edges have no names.
constexpr int kVectors = 1;

absl::Status Detach(Graph* graph, Node* attach) {
  const Edge* vectors = nullptr;
  TF_RETURN_IF_ERROR(attach->input_edge(kVectors, &vectors));
  std::vector<Node*> before;
  for (const Edge* edge : attach->in_edges()) {
    if (edge->IsControlEdge()) before.push_back(edge->src());
  }
  // It keeps the name: other nodes may be colocated with it.
  Node* identity = nullptr;
  TF_RETURN_IF_ERROR(NodeBuilder(attach->name(), "Identity")
                         .Input(vectors->src(), vectors->src_output())
                         .ControlInputs(before)
                         .Device(attach->requested_device())
                         .Finalize(graph, &identity));
  const std::vector<const Edge*> uses(attach->out_edges().begin(),
                                      attach->out_edges().end());
  for (const Edge* edge : uses) {
    if (edge->IsControlEdge()) {
      graph->AddControlEdge(identity, edge->dst());
    } else {
      TF_RETURN_IF_ERROR(
          graph->UpdateEdge(identity, 0, edge->dst(), edge->dst_input()));
    }
  }
  graph->RemoveNode(attach);
  return absl::OkStatus();
}

class DetachPass : public GraphOptimizationPass {
 public:
  absl::Status Run(const GraphOptimizationPassOptions& options) override {
    if (options.graph == nullptr || *options.graph == nullptr) {
      return absl::OkStatus();
    }
    Graph* const graph = options.graph->get();
    std::vector<Node*> found;
    for (Node* node : graph->op_nodes()) {
      if (node->type_string() == "MonolithAttach") found.push_back(node);
    }
    for (Node* node : found) TF_RETURN_IF_ERROR(Detach(graph, node));
    return absl::OkStatus();
  }
};

// Calls and branches are inlined in phase 10.
REGISTER_OPTIMIZATION(OptimizationPassRegistry::PRE_PLACEMENT, 20, DetachPass);

}  // namespace
}  // namespace monolith_tf
