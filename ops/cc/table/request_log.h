// request_log.h
//
// The updates that a server has applied, so that a repeated one is dropped and
// one that is too old to know is refused.
//
// An update carries (client, sequence). Per client the log holds the sequences
// that it has not seen below the highest one, as ranges. A client that sends in
// order has none, one whose requests overtake each other has one per request in
// flight, so memory is O(clients). When a client has more than kMaxGaps ranges,
// the lowest is forgotten: a sequence below it is too old to know.
//
// Thread-safe.

#ifndef MONOLITH_TF_OPS_CC_TABLE_REQUEST_LOG_H_
#define MONOLITH_TF_OPS_CC_TABLE_REQUEST_LOG_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace monolith_tf {

class RequestLog {
 public:
  // Ranges of a client that are remembered: more than requests that a loop has
  // in flight. They take 16 KiB.
  static constexpr size_t kMaxGaps = 1024;
  // Clients that are remembered. With more, the eighth that has been silent for
  // longest is forgotten: processes come and go.
  static constexpr size_t kMaxClients = size_t{1} << 16;
  // So many repeats in a row are those of a loop that counts from 0 again.
  static constexpr int64_t kSuspectRepeats = 32;

  struct Counts {
    int64_t applied = 0;   // updates, with or without a request id
    int64_t repeated = 0;  // updates dropped because they were known
    int64_t refused = 0;   // updates too old to know
  };

  enum class Answer {
    kApply,   // The caller applies the update.
    kRepeat,  // The caller changes nothing, though the first may still run.
    // The same, and the client has repeated so many that it should be told.
    kSuspectRepeat,
  };

  // Records an update without a request id.
  void CountUpdate();
  // Records an update. FailedPrecondition, and nothing is recorded but the
  // count, for a sequence that is too old to know; InvalidArgument for a
  // negative one.
  absl::StatusOr<Answer> Begin(int64_t client, int64_t sequence);

  // Forgets all clients; the counts stay.
  void Forget();

  // The clients and their sequences as numbers, ordered by client, for a
  // snapshot: 1, the number of clients, and per client: client, the sequence
  // after the highest, the lowest one that is known, the number of ranges, and
  // per range its first sequence and the one after its last.
  std::vector<int64_t> Export() const;
  // Replaces all clients by those of Export(). InvalidArgument, and no change,
  // for other numbers.
  absl::Status Import(const std::vector<int64_t>& numbers);

  Counts counts() const;

 private:
  using Range = std::pair<int64_t, int64_t>;

  struct Client {
    // The sequence after the highest.
    int64_t next = 0;
    // Below it, nothing is known.
    int64_t lowest = 0;
    // Sequences that did not come, [first, last), ordered, not adjacent.
    std::vector<Range> gaps;
    int64_t num_repeats = 0;
    // The number of the last update of any client.
    int64_t last_used = 0;
  };

  // Makes room for another client.
  void ForgetSilentClients() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable std::mutex mutex_;
  Counts counts_ ABSL_GUARDED_BY(mutex_);
  int64_t num_begun_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unordered_map<int64_t, Client> clients_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_REQUEST_LOG_H_
