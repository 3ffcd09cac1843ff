#include "ops/cc/failpoints/failpoints.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace monolith_tf {
namespace {

constexpr char kVariable[] = "MONOLITH_TF_FAIL_AT";
// Digits of a hit, and of each half of the seconds.
constexpr size_t kMaxHitDigits = 18;
constexpr size_t kMaxSecondsDigits = 9;

const char* NameOf(FaultAction action) {
  switch (action) {
    case FaultAction::kKill:
      return "kill";
    case FaultAction::kRaise:
      return "raise";
    case FaultAction::kSleep:
      return "sleep";
    case FaultAction::kNoSpace:
      return "enospc";
    case FaultAction::kIoError:
      return "eio";
  }
  return "";
}

// All parts, empty ones included.
std::vector<absl::string_view> Split(absl::string_view text, char separator) {
  std::vector<absl::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == absl::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool AreDigits(absl::string_view text, size_t max_digits) {
  return !text.empty() && text.size() <= max_digits &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

bool IsName(absl::string_view text) {
  const std::vector<absl::string_view> parts = Split(text, '.');
  if (parts.size() != 2) return false;
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
  });
}

bool ParseHit(absl::string_view text, int64_t* hit) {
  if (text.empty()) return true;
  if (!AreDigits(text, kMaxHitDigits) || text[0] == '0') return false;
  *hit = std::strtoll(std::string(text).c_str(), nullptr, 10);
  return true;
}

bool ParseAction(absl::string_view text, Failpoint* failpoint) {
  const std::vector<absl::string_view> parts = Split(text, '=');
  for (const FaultAction action :
       {FaultAction::kKill, FaultAction::kRaise, FaultAction::kSleep,
        FaultAction::kNoSpace, FaultAction::kIoError}) {
    if (parts[0] != NameOf(action)) continue;
    failpoint->action = action;
    if (action != FaultAction::kSleep) return parts.size() == 1;
    if (parts.size() != 2) return false;
    const std::vector<absl::string_view> halves = Split(parts[1], '.');
    if (halves.size() > 2) return false;
    for (const absl::string_view half : halves) {
      if (!AreDigits(half, kMaxSecondsDigits)) return false;
    }
    failpoint->sleep_seconds =
        std::strtod(std::string(parts[1]).c_str(), nullptr);
    return true;
  }
  return false;
}

// The active failpoints. Leaked: threads may outlive static destructors.
class Plan {
 public:
  static Plan& Get() {
    static Plan* const plan = new Plan;
    return *plan;
  }

  absl::Status Set(absl::string_view spec) {
    absl::StatusOr<std::vector<Failpoint>> parsed = ParseFailpoints(spec);
    if (!parsed.ok()) return parsed.status();
    std::lock_guard<std::mutex> lock(mutex_);
    SetLocked(*std::move(parsed));
    return absl::OkStatus();
  }

  absl::Status SetFromEnvironment() {
    std::lock_guard<std::mutex> lock(mutex_);
    return SetFromEnvironmentLocked();
  }

  // The failpoint that triggers at this hit of `name`, if there is one.
  absl::Status Take(const char* name, Failpoint* failpoint, int64_t* number) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!is_read_) {
      const absl::Status read = SetFromEnvironmentLocked();
      if (!read.ok()) return read;
    }
    if (!malformed_.ok()) return malformed_;
    for (const Failpoint& one : failpoints_) {
      if (one.name == name) {
        *number = ++hits_[one.name];
        break;
      }
    }
    for (const Failpoint& one : failpoints_) {
      if (one.name == name && (one.hit == 0 || one.hit == *number)) {
        *failpoint = one;
        return absl::OkStatus();
      }
    }
    *number = 0;
    return absl::OkStatus();
  }

 private:
  absl::Status SetFromEnvironmentLocked() {
    const char* const spec = std::getenv(kVariable);
    absl::StatusOr<std::vector<Failpoint>> parsed =
        ParseFailpoints(spec == nullptr ? "" : spec);
    SetLocked(parsed.ok() ? *parsed : std::vector<Failpoint>(),
              parsed.status());
    return malformed_;
  }

  void SetLocked(std::vector<Failpoint> failpoints,
                 absl::Status malformed = absl::OkStatus()) {
    is_read_ = true;
    malformed_ = std::move(malformed);
    failpoints_ = std::move(failpoints);
    hits_.clear();
    failpoints_internal::may_fail.store(
        !failpoints_.empty() || !malformed_.ok(), std::memory_order_relaxed);
  }

  std::mutex mutex_;
  bool is_read_ = false;
  // The error of the variable.
  absl::Status malformed_;
  std::vector<Failpoint> failpoints_;
  std::map<std::string, int64_t> hits_;
};

}  // namespace

absl::StatusOr<std::vector<Failpoint>> ParseFailpoints(absl::string_view spec) {
  std::vector<Failpoint> failpoints;
  if (spec.empty()) return failpoints;
  for (const absl::string_view entry : Split(spec, ',')) {
    const std::vector<absl::string_view> fields = Split(entry, ':');
    Failpoint failpoint;
    if (fields.size() != 3 || !IsName(fields[0]) ||
        !ParseHit(fields[1], &failpoint.hit) ||
        !ParseAction(fields[2], &failpoint)) {
      return absl::InvalidArgumentError(absl::StrCat(
          kVariable, " must have entries of the form name:hit:action, ",
          "separated by commas; hit is a positive number, or empty for each "
          "hit; action is kill, raise, sleep=seconds, enospc or eio. "
          "Received: '",
          entry, "'. Example: delta_log.after_rename:3:kill."));
    }
    failpoint.name = std::string(fields[0]);
    failpoints.push_back(std::move(failpoint));
  }
  return failpoints;
}

absl::Status SetFailpoints(absl::string_view spec) {
  return Plan::Get().Set(spec);
}

absl::Status SetFailpointsFromEnvironment() {
  return Plan::Get().SetFromEnvironment();
}

namespace failpoints_internal {

std::atomic<bool> may_fail{true};

absl::Status Hit(const char* name) {
  Failpoint failpoint;
  int64_t number = 0;
  const absl::Status taken = Plan::Get().Take(name, &failpoint, &number);
  if (!taken.ok() || number == 0) return taken;
  // Written at once and whole: `kill` flushes no buffer, and a log that several
  // processes share is counted by line.
  const std::string line = absl::StrCat("FAILPOINT ", name, " hit ", number,
                                        ": ", NameOf(failpoint.action), "\n");
  const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  static_cast<void>(written);
  const std::string message =
      absl::StrCat("failpoint ", name, ", hit ", number);
  switch (failpoint.action) {
    case FaultAction::kKill:
      kill(getpid(), SIGKILL);
      break;
    case FaultAction::kRaise:
      return absl::InternalError(message);
    case FaultAction::kSleep:
      std::this_thread::sleep_for(
          std::chrono::duration<double>(failpoint.sleep_seconds));
      break;
    case FaultAction::kNoSpace:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, ": No space left on device"));
    case FaultAction::kIoError:
      return absl::UnknownError(absl::StrCat(message, ": Input/output error"));
  }
  return absl::OkStatus();
}

}  // namespace failpoints_internal
}  // namespace monolith_tf
