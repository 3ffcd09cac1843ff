#include "ops/cc/table/request_log.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace monolith_tf {
namespace {

// The first number of an export.
constexpr int64_t kFormat = 1;

absl::Status Malformed(size_t position) {
  return absl::InvalidArgumentError(absl::StrCat(
      "Request marks must be the numbers of MonolithExportRequests, format ",
      kFormat, ". Received: numbers that differ at position ", position,
      ". Restore another snapshot."));
}

}  // namespace

void RequestLog::CountUpdate() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++counts_.applied;
}

absl::StatusOr<RequestLog::Answer> RequestLog::Begin(int64_t client,
                                                     int64_t sequence) {
  if (sequence < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "The sequence of a request must not be negative. Received: ", sequence,
        " of client ", client, "."));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = clients_.find(client);
  if (found == clients_.end()) {
    if (clients_.size() >= kMaxClients) ForgetSilentClients();
    found = clients_.emplace(client, Client()).first;
  }
  Client& known = found->second;
  known.last_used = ++num_begun_;
  if (sequence < known.lowest) {
    ++counts_.refused;
    return absl::FailedPreconditionError(absl::StrCat(
        "Request ", sequence, " of client ", client, " is too old to know ",
        "whether it was applied. Expected a sequence of at least ",
        known.lowest, ": more than ", kMaxGaps, " requests of the client ",
        "overtook it. Nothing was changed. Skip the request, or restore a "
        "checkpoint."));
  }
  if (sequence >= known.next) {
    if (sequence > known.next) known.gaps.emplace_back(known.next, sequence);
    known.next = sequence + 1;
  } else {
    // The gap that begins last, at or before it.
    auto gap = std::upper_bound(known.gaps.begin(), known.gaps.end(),
                                Range(sequence, INT64_MAX));
    if (gap == known.gaps.begin() || (--gap)->second <= sequence) {
      ++counts_.repeated;
      return ++known.num_repeats == kSuspectRepeats ? Answer::kSuspectRepeat
                                                    : Answer::kRepeat;
    }
    const Range after(sequence + 1, gap->second);
    gap->second = sequence;
    if (gap->first == gap->second) {
      if (after.first == after.second) {
        known.gaps.erase(gap);
      } else {
        *gap = after;
      }
    } else if (after.first != after.second) {
      known.gaps.insert(gap + 1, after);
    }
  }
  if (known.gaps.size() > kMaxGaps) {
    known.lowest = known.gaps.front().second;
    known.gaps.erase(known.gaps.begin());
  }
  known.num_repeats = 0;
  ++counts_.applied;
  return Answer::kApply;
}

void RequestLog::ForgetSilentClients() {
  std::vector<int64_t> uses;
  uses.reserve(clients_.size());
  for (const auto& [id, client] : clients_) uses.push_back(client.last_used);
  const auto limit = uses.begin() + uses.size() / 8;
  std::nth_element(uses.begin(), limit, uses.end());
  for (auto client = clients_.begin(); client != clients_.end();) {
    client = client->second.last_used <= *limit ? clients_.erase(client)
                                                : std::next(client);
  }
}

void RequestLog::Forget() {
  const std::lock_guard<std::mutex> lock(mutex_);
  clients_.clear();
}

std::vector<int64_t> RequestLog::Export() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::map<int64_t, Client> ordered(clients_.begin(), clients_.end());
  std::vector<int64_t> numbers = {kFormat,
                                  static_cast<int64_t>(ordered.size())};
  for (const auto& [id, client] : ordered) {
    numbers.insert(numbers.end(), {id, client.next, client.lowest,
                                   static_cast<int64_t>(client.gaps.size())});
    for (const auto& [first, last] : client.gaps) {
      numbers.insert(numbers.end(), {first, last});
    }
  }
  return numbers;
}

absl::Status RequestLog::Import(const std::vector<int64_t>& numbers) {
  if (numbers.size() < 2 || numbers[0] != kFormat || numbers[1] < 0) {
    return Malformed(0);
  }
  std::unordered_map<int64_t, Client> clients;
  size_t at = 2;
  for (int64_t left = numbers[1]; left > 0; --left) {
    if (numbers.size() - at < 4) return Malformed(at);
    Client client;
    client.next = numbers[at + 1];
    client.lowest = numbers[at + 2];
    const int64_t num_gaps = numbers[at + 3];
    if (client.lowest < 0 || client.lowest > client.next || num_gaps < 0 ||
        num_gaps > static_cast<int64_t>(kMaxGaps) ||
        numbers.size() - at - 4 < 2 * static_cast<size_t>(num_gaps)) {
      return Malformed(at);
    }
    const int64_t id = numbers[at];
    at += 4;
    int64_t end = client.lowest;
    for (int64_t gap = 0; gap < num_gaps; ++gap, at += 2) {
      if (numbers[at] < end || numbers[at + 1] <= numbers[at] ||
          numbers[at + 1] > client.next) {
        return Malformed(at);
      }
      client.gaps.emplace_back(numbers[at], numbers[at + 1]);
      end = numbers[at + 1];
    }
    if (!clients.emplace(id, std::move(client)).second) return Malformed(at);
  }
  if (at != numbers.size()) return Malformed(at);
  const std::lock_guard<std::mutex> lock(mutex_);
  clients_ = std::move(clients);
  return absl::OkStatus();
}

RequestLog::Counts RequestLog::counts() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return counts_;
}

}  // namespace monolith_tf
