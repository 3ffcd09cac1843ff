// Signatures of the ops by which a chief takes a server over from an older one,
// and by which a server leaves.

#include "absl/status/status.h"
#include "ops/cc/registrations/shape_helpers.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"

namespace monolith_tf {
namespace {

using ::tensorflow::shape_inference::InferenceContext;

REGISTER_OP("MonolithFenceWriters")
    .Input("epoch: int64")
    .Input("writer: int64")
    .Input("kept: string")
    .Output("num_freed: int64")
    .Output("num_bytes: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(InputOfRank(c, "epoch", 0));
      TF_RETURN_IF_ERROR(InputOfRank(c, "writer", 0));
      TF_RETURN_IF_ERROR(InputOfRank(c, "kept", 1));
      TF_RETURN_IF_ERROR(SetOutput(c, "num_freed", c->Scalar()));
      return SetOutput(c, "num_bytes", c->Scalar());
    })
    .Doc(R"doc(
Makes a chief the writer of this server and frees other table sets.

Mutates the server. Requests of an older chief fail from then on. Does not wait
for those that run. Fails with Aborted if another writer has an epoch that is
not lower.

epoch: scalar, epoch of the chief.
writer: scalar, a random number of the chief's process.
kept: `[n]`, names of the table sets of the chief.
num_freed: scalar, the freed table sets.
num_bytes: scalar, their resident bytes.
)doc");

REGISTER_OP("MonolithAdoptTableSet")
    .Input("handle: resource")
    .Input("generation: int64")
    .Input("epoch: int64")
    .Input("writer: int64")
    .Output("adopted: bool")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(HandleShape(c));
      TF_RETURN_IF_ERROR(InputOfRank(c, "generation", 0));
      TF_RETURN_IF_ERROR(InputOfRank(c, "epoch", 0));
      TF_RETURN_IF_ERROR(InputOfRank(c, "writer", 0));
      return SetOutput(c, "adopted", c->Scalar());
    })
    .Doc(R"doc(
Continues the table set that has a generation, under this one's name.

Mutates the server. The rows of this table set are dropped, those of the other
stay, with their generation, cuts and request ids. Blocks until the requests
that run on it are done; later ones of the older chief fail. Does nothing if
this set has the generation already, or if no table set of the server has it
together with the same shard and equal tables. Fails as
`MonolithFenceWriters`.

handle: the table set.
generation: scalar, positive int63.
epoch: scalar, epoch of the chief.
writer: scalar, a random number of the chief's process.
adopted: scalar, true if the table set now has the generation.
)doc");

REGISTER_OP("MonolithDrain")
    .Input("wanted: int64")
    .Output("state: int64")
    .SetIsStateful()
    .SetShapeFn([](InferenceContext* c) {
      TF_RETURN_IF_ERROR(InputOfRank(c, "wanted", 0));
      return SetOutput(c, "state", c->Scalar());
    })
    .Doc(R"doc(
Reads whether this server's process drains, after raising it to a state.

Mutates the process, unless it has reached the state. Does not block. A process
serves at first (0). One that is to stop drains (1) until its state is saved
(2), then it leaves. Without a writer (`MonolithFenceWriters`) it does not wait.

wanted: scalar, the least state, 0 to 2.
state: scalar, the state.
)doc");

}  // namespace
}  // namespace monolith_tf
