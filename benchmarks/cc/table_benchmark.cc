// Times the table core alone: no TensorFlow, no Python. One thread, but for a
// second insert of all ids into a new table by --threads=N at once.
//
//   benchmarks/cc/run.sh [--ids=N] [--dim=N] [--batch=N] [--batches=N]
//                        [--growth_batch=N] [--cpu_clock=1] [--threads=N]
//                        [--capacity=N]
//
// --capacity=N makes the memory of N rows ready before the first is timed.
//
// On a machine that others use too, --cpu_clock=1 counts the processor time
// of the thread instead of the time of the clock.
//
// Prints one line per measurement: millions of ids per second, and for growth
// the times of batches in milliseconds. Ids are drawn uniformly.

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "benchmarks/cc/benchmark_support.h"
#include "ops/cc/config/table_config.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/table/table.h"

namespace monolith_tf {
namespace {

struct Sizes {
  int64_t ids = 2000000;
  int64_t dim = 16;
  int64_t batch = 131072;
  int64_t batches = 20;
  int64_t growth_batch = 16384;
  int64_t cpu_clock = 0;
  int64_t threads = 2;
  int64_t capacity = 0;
};

double Now(bool is_cpu_clock) {
  timespec now;
  clock_gettime(is_cpu_clock ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * now.tv_nsec;
}

class Benchmark {
 public:
  Benchmark(const Sizes& sizes, const TableConfig& config)
      : sizes_(sizes),
        table_(std::move(Table::Create(config)).value()),
        ids_(std::max(sizes.batch, sizes.growth_batch)),
        counts_(ids_.size(), 1),
        rows_(ids_.size() * sizes.dim + kLine, 0.01f) {}

  double Seconds(const std::function<void()>& work) const {
    const double begin = Now(sizes_.cpu_clock != 0);
    work();
    return Now(sizes_.cpu_clock != 0) - begin;
  }

  // Inserts all ids in order; prints what batches took.
  void Grow() {
    std::vector<double> times;
    const int64_t batch = sizes_.growth_batch;
    for (int64_t begin = 0; begin < sizes_.ids; begin += batch) {
      const int64_t n = std::min(batch, sizes_.ids - begin);
      for (int64_t i = 0; i < n; ++i) ids_[i] = IdOf(begin + i);
      times.push_back(Seconds([&] { Apply(n); }));
    }
    double total = 0;
    for (const double time : times) total += time;
    std::vector<double> last(times.end() - (times.size() + 3) / 4, times.end());
    std::sort(times.begin(), times.end());
    std::sort(last.begin(), last.end());
    const auto at = [](const std::vector<double>& sorted, double share) {
      return 1e3 * sorted[static_cast<size_t>(share * (sorted.size() - 1))];
    };
    std::printf("insert             %7.2f M ids/s\n", sizes_.ids / total / 1e6);
    std::printf(
        "growth batch of %lld: median %.2f ms, median of the last quarter "
        "%.2f ms, p99.9 %.2f ms, worst %.2f ms\n",
        static_cast<long long>(batch), at(times, 0.5), at(last, 0.5),
        at(times, 0.999), at(times, 1.0));
    const int64_t floats = table_->row_width() * sizeof(float);
    std::printf(
        "memory             %7.2f bytes per row above its floats\n",
        static_cast<double>(table_->memory_bytes()) / table_->size() - floats);
  }

  // Threads take turns at the batches; by the clock.
  void GrowAtOnce() {
    const double begin = Now(false);
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < sizes_.threads; ++t) {
      threads.emplace_back([this, t] {
        const int64_t batch = sizes_.growth_batch;
        std::vector<int64_t> ids(batch);
        for (int64_t first = t * batch; first < sizes_.ids;
             first += sizes_.threads * batch) {
          const int64_t n = std::min(batch, sizes_.ids - first);
          for (int64_t i = 0; i < n; ++i) ids[i] = IdOf(first + i);
          Apply(ids.data(), n, /*step=*/1);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::printf("insert, %lld threads  %5.2f M ids/s\n",
                static_cast<long long>(sizes_.threads),
                sizes_.ids / (Now(false) - begin) / 1e6);
  }

  void LookUpAll() {
    Repeat("lookup", [&] { Lookup(); });
  }

  void StepAll() {
    Repeat("step", [&] { Apply(sizes_.batch); });
    Repeat("lookup and step", [&] {
      Lookup();
      Apply(sizes_.batch);
    });
  }

 private:
  // Floats of a cache line.
  static constexpr int64_t kLine = 16;

  // From where a line starts on, as TensorFlow's tensors lie.
  float* rows() {
    void* begin = rows_.data();
    size_t bytes = rows_.size() * sizeof(float);
    return static_cast<float*>(
        std::align(kLine * sizeof(float), sizeof(float), begin, bytes));
  }

  void Lookup() {
    const int64_t bytes =
        sizes_.batch * sizes_.dim * static_cast<int64_t>(sizeof(float));
    table_->Lookup(ids_.data(), sizes_.batch, rows(), nullptr,
                   bytes >= monolith_tf::kMinStreamedBytes);
  }

  void Apply(int64_t n) { Apply(ids_.data(), n, ++step_); }

  void Apply(const int64_t* ids, int64_t n, int64_t step) {
    ApplyRequest request;
    request.ids = ids;
    request.counts = counts_.data();
    request.gradients = rows();
    request.n = n;
    request.global_step = step;
    const float learning_rate = 0.01f;
    request.learning_rates = &learning_rate;
    const absl::Status status = table_->Apply(request);
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      std::exit(1);
    }
  }

  void Repeat(const char* name, const std::function<void()>& work) {
    std::vector<double> times;
    for (int64_t batch = 0; batch < sizes_.batches; ++batch) {
      for (int64_t i = 0; i < sizes_.batch; ++i) {
        ids_[i] = IdOf(Mix64(++draw_) % sizes_.ids);
      }
      times.push_back(Seconds(work));
    }
    std::sort(times.begin(), times.end());
    std::printf("%-18s %7.2f M ids/s (best %.2f)\n", name,
                sizes_.batch / times[times.size() / 2] / 1e6,
                sizes_.batch / times[0] / 1e6);
  }

  const Sizes sizes_;
  const std::unique_ptr<Table> table_;
  std::vector<int64_t> ids_;
  std::vector<int64_t> counts_;
  std::vector<float> rows_;
  int64_t step_ = 0;
  uint64_t draw_ = uint64_t{1} << 40;
};

}  // namespace
}  // namespace monolith_tf

int main(int argc, char** argv) {
  monolith_tf::Sizes sizes;
  for (int i = 1; i < argc; ++i) {
    if (!monolith_tf::ParseFlag(argv[i], "ids", &sizes.ids) &&
        !monolith_tf::ParseFlag(argv[i], "dim", &sizes.dim) &&
        !monolith_tf::ParseFlag(argv[i], "batch", &sizes.batch) &&
        !monolith_tf::ParseFlag(argv[i], "batches", &sizes.batches) &&
        !monolith_tf::ParseFlag(argv[i], "growth_batch", &sizes.growth_batch) &&
        !monolith_tf::ParseFlag(argv[i], "threads", &sizes.threads) &&
        !monolith_tf::ParseFlag(argv[i], "capacity", &sizes.capacity) &&
        !monolith_tf::ParseFlag(argv[i], "cpu_clock", &sizes.cpu_clock)) {
      std::fprintf(stderr,
                   "%s: expected --ids=N, --dim=N, --batch=N, --batches=N, "
                   "--growth_batch=N, --threads=N, --capacity=N or "
                   "--cpu_clock=N with N > 0\n",
                   argv[i]);
      return 1;
    }
  }
  const monolith_tf::OptimizerConfig optimizers[] = {
      {"adagrad", {0.1f, 1e-7f}}, {"adam", {0.9f, 0.999f, 1e-7f}}};
  for (const monolith_tf::OptimizerConfig& optimizer : optimizers) {
    std::printf("-- %s, %lld ids, dim %lld, batch %lld\n",
                optimizer.kind.c_str(), static_cast<long long>(sizes.ids),
                static_cast<long long>(sizes.dim),
                static_cast<long long>(sizes.batch));
    auto config = monolith_tf::TableConfig::OfOneSegment(
        "movie", sizes.dim, optimizer, {"uniform", {-0.05f, 0.05f}}, 7);
    config.initial_capacity = sizes.capacity;
    monolith_tf::Benchmark(sizes, config).GrowAtOnce();
    monolith_tf::Benchmark benchmark(sizes, config);
    benchmark.Grow();
    benchmark.LookUpAll();
    benchmark.StepAll();
  }
  return 0;
}
