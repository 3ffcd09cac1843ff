// Times the calls of one thread while another does the long work that there is
// on a table: who looks up or steps a few rows must never wait for it.
//
//   PROGRAM=pause_benchmark benchmarks/cc/run.sh [--ids=N] [--dim=N]
//   [--batch=N]
//
// Prints one line a work and kind of call: how long the work took, how many
// calls were made meanwhile, their median, 99th percentile and maximum in
// milliseconds; the first lines are those of a thread that is alone. An update
// that makes rows may touch fresh memory, whose pages the system has to clear.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "benchmarks/cc/benchmark_support.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/table/table.h"
#include "ops/cc/table/table_stats.h"

namespace monolith_tf {
namespace {

struct Sizes {
  int64_t ids = 2000000;
  int64_t dim = 16;
  int64_t batch = 4096;
};

constexpr int64_t kWriteBatch = 131072;
constexpr int64_t kTime = 1000;
constexpr int64_t kTtl = 100;

double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::exit(1);
}

class Pauses {
 public:
  explicit Pauses(const Sizes& sizes) : sizes_(sizes) {
    TableConfig config = TableConfig::OfOneSegment(
        "movie", sizes.dim, {"adagrad", {0.1f, 1e-7f}},
        {"uniform", {-0.05f, 0.05f}}, 7);
    config.eviction.ttl_seconds = kTtl;
    table_ = std::move(Table::Create(config)).value();
    table_->StartTracking(cut_);
    Write(0, sizes_.ids);
  }

  void Run() {
    During("nothing",
           [] { std::this_thread::sleep_for(std::chrono::milliseconds(300)); });
    During("cut", [this] {
      std::vector<int64_t> ids;
      table_->SwapTouched(++cut_, &ids);
    });
    During("read a delta", [this] { ReadDelta(); });
    During("export", [this] { Export(); });
    During("checkpoint", [this] { ExportGroups(); });
    During("insert half as many", [this] {
      Write(next_, sizes_.ids / 2);
      next_ += sizes_.ids / 2;
    });
    During("remove half", [this] { Remove(sizes_.ids / 2); });
    During("clear and fill", [this] {
      table_->Clear();
      Write(0, sizes_.ids);
    });
    During("sweep of all", [this] {
      time_ += 2 * kTtl;
      table_->Sweep(time_);
    });
  }

 private:
  void During(const char* name, const std::function<void()>& work) {
    for (const bool is_update : {false, true}) {
      // Of the kind before, too.
      Write(0, sizes_.ids);
      std::atomic<bool> is_done{false};
      // When each call began and ended.
      std::vector<std::pair<double, double>> calls;
      std::thread caller([this, is_update, time = time_, &is_done, &calls] {
        Call(is_update, time, is_done, &calls);
      });
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const double begin = Now();
      work();
      const double end = Now();
      is_done.store(true);
      caller.join();
      std::vector<double> times;
      for (const auto& [from, to] : calls) {
        if (to >= begin && from <= end) times.push_back(1e3 * (to - from));
      }
      std::sort(times.begin(), times.end());
      const auto at = [&](double share) {
        return times[static_cast<size_t>(share * (times.size() - 1))];
      };
      std::printf(
          "%-20s %8.3f s  %6zu %ss: median %.3f, p99 %.3f, max %.3f ms\n", name,
          end - begin, times.size(), is_update ? "update" : "lookup", at(0.5),
          at(0.99), at(1.0));
      std::fflush(stdout);
    }
  }

  void Call(bool is_update, int64_t time, const std::atomic<bool>& is_done,
            std::vector<std::pair<double, double>>* calls) {
    std::vector<int64_t> ids(sizes_.batch);
    const std::vector<int64_t> counts(sizes_.batch, 1);
    std::vector<float> rows(sizes_.batch * sizes_.dim, 0.01f);
    const float learning_rate = 0.1f;
    ApplyRequest request;
    request.ids = ids.data();
    request.counts = counts.data();
    request.gradients = rows.data();
    request.n = sizes_.batch;
    request.event_time = time;
    request.learning_rates = &learning_rate;
    uint64_t draw = uint64_t{1} << 40;
    do {
      for (int64_t& id : ids) id = IdOf(Mix64(++draw) % sizes_.ids);
      ++request.global_step;
      const double begin = Now();
      if (is_update) {
        Check(table_->Apply(request));
      } else {
        table_->Lookup(ids.data(), sizes_.batch, rows.data(), nullptr);
      }
      calls->emplace_back(begin, Now());
    } while (!is_done.load());
  }

  void Write(int64_t first, int64_t n) {
    std::vector<int64_t> ids;
    const std::vector<float> rows(kWriteBatch * sizes_.dim, 0.01f);
    for (int64_t begin = first; begin < first + n; begin += kWriteBatch) {
      ids.clear();
      for (int64_t i = begin; i < std::min(first + n, begin + kWriteBatch);
           ++i) {
        ids.push_back(IdOf(i));
      }
      Check(table_->Assign(ids.data(), rows.data(),
                           static_cast<int64_t>(ids.size()), time_));
    }
  }

  void Remove(int64_t n) {
    std::vector<int64_t> ids(kWriteBatch);
    for (int64_t begin = 0; begin < n; begin += kWriteBatch) {
      const int64_t size = std::min(kWriteBatch, n - begin);
      for (int64_t i = 0; i < size; ++i) ids[i] = IdOf(begin + i);
      table_->Remove(ids.data(), size);
    }
  }

  void ReadDelta() {
    std::vector<int64_t> ids(std::min<int64_t>(sizes_.ids, 1000000));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = IdOf(i);
    const auto exists = std::make_unique<bool[]>(ids.size());
    std::vector<float> rows;
    table_->ReadDelta(ids, exists.get(), &rows);
  }

  void Export() {
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> rows;
    for (int64_t cursor = 0; cursor >= 0;) {
      ids.clear();
      stamps.clear();
      rows.clear();
      cursor = table_->ExportChunk(cursor, 65536, &ids, &rows, &stamps);
    }
  }

  void ExportGroups() {
    constexpr int kParts = 4;
    std::vector<int64_t> counts;
    std::vector<int64_t> ids;
    std::vector<int64_t> stamps;
    std::vector<float> rows;
    for (int part = 0; part < kParts; ++part) {
      table_->ExportGroups(part * kNumGroups / kParts,
                           (part + 1) * kNumGroups / kParts, &counts, &ids,
                           &stamps, &rows);
    }
  }

  const Sizes sizes_;
  std::unique_ptr<Table> table_;
  int64_t cut_ = 1;
  int64_t time_ = kTime;
  // The first id that was never there.
  int64_t next_ = sizes_.ids;
};

}  // namespace
}  // namespace monolith_tf

int main(int argc, char** argv) {
  monolith_tf::Sizes sizes;
  for (int i = 1; i < argc; ++i) {
    if (!monolith_tf::ParseFlag(argv[i], "ids", &sizes.ids) &&
        !monolith_tf::ParseFlag(argv[i], "dim", &sizes.dim) &&
        !monolith_tf::ParseFlag(argv[i], "batch", &sizes.batch)) {
      std::fprintf(stderr,
                   "%s: expected --ids=N, --dim=N or --batch=N with N > 0\n",
                   argv[i]);
      return 1;
    }
  }
  monolith_tf::Pauses(sizes).Run();
  return 0;
}
