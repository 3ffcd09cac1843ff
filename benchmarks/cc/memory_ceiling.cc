// Times what the memory itself allows: the loops that a table can't beat.
//
//   memory_ceiling [--mib=N] [--threads=N] [--row_bytes=N] [--in_flight=N]
//                  [--accesses=N] [--rounds=N]
//
// Every thread goes to random 64-byte lines, or to random rows of --row_bytes
// that start on a line, of one block of --mib, with a prefetch --in_flight
// accesses ahead. There is no index, no id, no lock: an address comes from two
// multiplications. Each is measured with prefetches into the first and into
// the second level of the caches; the faster counts.
//
//   lines        reads a word of a random line, in 2 MiB pages
//   lines_4k     the same in 4 KiB pages
//   lines_write  reads, adds, and writes a word of a random line
//   gather       copies a random row to the next place of an output
//
// Prints one line of JSON: each in millions of lines or rows, over all threads,
// a second of the clock ("wall") and a second of processor time ("cpu", which
// others on the machine disturb less); medians of --rounds.
//
// Has no dependency: c++ -O3 -std=c++17 -pthread memory_ceiling.cc.

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kLineBytes = 64;
constexpr int64_t kHugePageBytes = int64_t{2} << 20;
constexpr int kMaxInFlight = 256;  // a power of two
constexpr int64_t kOutputBytes = int64_t{8} << 20;

struct Sizes {
  int64_t mib = 1024;
  int64_t threads = 1;
  int64_t row_bytes = 64;
  int64_t in_flight = 64;
  int64_t accesses = 4000000;
  int64_t rounds = 5;
};

bool ParseFlag(const char* argument, const char* name, int64_t* value) {
  const std::string prefix = std::string("--") + name + "=";
  if (std::strncmp(argument, prefix.c_str(), prefix.size()) != 0) return false;
  char* end = nullptr;
  *value = std::strtoll(argument + prefix.size(), &end, 10);
  return *end == '\0' && *value > 0;
}

double Now(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * now.tv_nsec;
}

// Spreads 0, 1, 2, ... over 64 bits; the high half is as good as random.
inline uint64_t Scatter(uint64_t i) {
  i *= 0x9E3779B97F4A7C15;
  i ^= i >> 32;
  return i * 0xD6E8FEB86659FD93;
}

// A number below `n`, which fits 32 bits.
inline uint64_t Draw(uint64_t i, uint64_t n) {
  return ((Scatter(i) >> 32) * n) >> 32;
}

// Touched memory that starts on a huge page. Never freed.
char* Map(int64_t bytes, bool is_huge) {
  void* mapped = mmap(nullptr, bytes + kHugePageBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    std::fprintf(stderr, "no %lld bytes of memory\n",
                 static_cast<long long>(bytes));
    std::exit(1);
  }
  uintptr_t address = reinterpret_cast<uintptr_t>(mapped);
  address += (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
  char* const begin = reinterpret_cast<char*>(address);
  (void)madvise(begin, bytes, is_huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  for (int64_t i = 0; i < bytes; i += kLineBytes) begin[i] = 1;
  return begin;
}

// Where prefetches go, in the compiler's words.
constexpr int kFirstLevel = 3;
constexpr int kSecondLevel = 2;

// Calls visit(address, i) for `count` random units, prefetched in time.
template <int kCache, typename Visit>
inline void ForRandomUnits(char* block, uint64_t num_units, int64_t unit_bytes,
                           int64_t in_flight, uint64_t first, int64_t count,
                           Visit visit) {
  uint32_t ahead[kMaxInFlight];
  const auto start = [&](int64_t i) {
    const uint32_t unit = Draw(first + i, num_units);
    ahead[i % kMaxInFlight] = unit;
    const char* address = block + unit * unit_bytes;
    for (int64_t line = 0; line < unit_bytes; line += kLineBytes) {
      __builtin_prefetch(address + line, 0, kCache);
    }
  };
  for (int64_t i = 0; i < in_flight; ++i) start(i);
  for (int64_t i = 0; i < count; ++i) {
    char* const address = block + ahead[i % kMaxInFlight] * unit_bytes;
    start(i + in_flight);
    visit(address, i);
  }
}

struct Rate {
  double by_clock = 0;
  double by_processor = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Runs work(thread, round) on all threads at once, `rounds` times.
Rate Measure(const Sizes& sizes,
             const std::function<void(int64_t, int64_t)>& work) {
  std::vector<double> by_clock;
  std::vector<double> by_processor;
  const double total = 1e-6 * sizes.threads * sizes.accesses;
  for (int64_t round = 0; round < sizes.rounds; ++round) {
    std::vector<double> busy(sizes.threads);
    const double begin = Now(CLOCK_MONOTONIC);
    std::vector<std::thread> threads;
    const auto run = [&](int64_t thread) {
      const double start = Now(CLOCK_THREAD_CPUTIME_ID);
      work(thread, round);
      busy[thread] = Now(CLOCK_THREAD_CPUTIME_ID) - start;
    };
    for (int64_t t = 1; t < sizes.threads; ++t) threads.emplace_back(run, t);
    run(0);
    for (std::thread& thread : threads) thread.join();
    by_clock.push_back(total / (Now(CLOCK_MONOTONIC) - begin));
    by_processor.push_back(total /
                           std::accumulate(busy.begin(), busy.end(), 0.0));
  }
  return {Median(by_clock), Median(by_processor)};
}

Rate Faster(const Rate& a, const Rate& b) {
  return a.by_clock > b.by_clock ? a : b;
}

// What threads found, so that the compiler can't leave the reads out.
volatile uint64_t sink;

template <bool kWrites, int kCache>
Rate MeasureLinesBy(const Sizes& sizes, char* block) {
  const uint64_t num_lines = (sizes.mib << 20) / kLineBytes;
  return Measure(sizes, [&](int64_t thread, int64_t round) {
    uint64_t sum = 0;
    const uint64_t first = (round * sizes.threads + thread) << 40;
    ForRandomUnits<kCache>(block, num_lines, kLineBytes, sizes.in_flight, first,
                           sizes.accesses, [&](char* line, int64_t) {
                             uint64_t word;
                             std::memcpy(&word, line, sizeof(word));
                             sum += word;
                             if (kWrites) {
                               ++word;
                               std::memcpy(line, &word, sizeof(word));
                             }
                           });
    sink = sum;
  });
}

template <bool kWrites>
Rate MeasureLines(const Sizes& sizes, char* block) {
  return Faster(MeasureLinesBy<kWrites, kFirstLevel>(sizes, block),
                MeasureLinesBy<kWrites, kSecondLevel>(sizes, block));
}

template <int64_t kRowBytes, int kCache>
Rate MeasureGatherBy(const Sizes& sizes, char* block,
                     const std::vector<char*>& outputs) {
  const int64_t row_bytes = kRowBytes > 0 ? kRowBytes : sizes.row_bytes;
  const int64_t stride = (row_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
  const uint64_t num_rows = (sizes.mib << 20) / stride;
  const int64_t output_rows = kOutputBytes / row_bytes;
  return Measure(sizes, [&](int64_t thread, int64_t round) {
    char* const output = outputs[thread];
    int64_t next = 0;
    const uint64_t first = (round * sizes.threads + thread) << 40;
    const int64_t in_flight =
        std::max<int64_t>(1, sizes.in_flight * kLineBytes / stride);
    ForRandomUnits<kCache>(block, num_rows, stride, in_flight, first,
                           sizes.accesses, [&](char* row, int64_t) {
                             std::memcpy(output + next * row_bytes, row,
                                         row_bytes);
                             if (++next == output_rows) next = 0;
                           });
  });
}

template <int64_t kRowBytes>
Rate MeasureGather(const Sizes& sizes, char* block) {
  std::vector<char*> outputs(sizes.threads);
  for (char*& output : outputs) output = Map(kOutputBytes, true);
  return Faster(
      MeasureGatherBy<kRowBytes, kFirstLevel>(sizes, block, outputs),
      MeasureGatherBy<kRowBytes, kSecondLevel>(sizes, block, outputs));
}

Rate MeasureGatherOf(const Sizes& sizes, char* block) {
  switch (sizes.row_bytes) {
    case 64:
      return MeasureGather<64>(sizes, block);
    case 128:
      return MeasureGather<128>(sizes, block);
    case 256:
      return MeasureGather<256>(sizes, block);
    default:
      return MeasureGather<0>(sizes, block);
  }
}

void Print(const char* name, const Rate& rate) {
  std::printf(", \"%s\": {\"wall\": %.3f, \"cpu\": %.3f}", name, rate.by_clock,
              rate.by_processor);
}

}  // namespace

int main(int argc, char** argv) {
  Sizes sizes;
  for (int i = 1; i < argc; ++i) {
    if (!ParseFlag(argv[i], "mib", &sizes.mib) &&
        !ParseFlag(argv[i], "threads", &sizes.threads) &&
        !ParseFlag(argv[i], "row_bytes", &sizes.row_bytes) &&
        !ParseFlag(argv[i], "in_flight", &sizes.in_flight) &&
        !ParseFlag(argv[i], "accesses", &sizes.accesses) &&
        !ParseFlag(argv[i], "rounds", &sizes.rounds)) {
      std::fprintf(stderr,
                   "%s: expected --mib=N, --threads=N, --row_bytes=N, "
                   "--in_flight=N, --accesses=N or --rounds=N with N > 0\n",
                   argv[i]);
      return 1;
    }
  }
  if (sizes.in_flight > kMaxInFlight / 2 || sizes.mib > 1 << 17 ||
      sizes.row_bytes > kOutputBytes) {
    std::fprintf(stderr,
                 "--in_flight is at most %d, --mib 131072, --row_bytes %lld\n",
                 kMaxInFlight / 2, static_cast<long long>(kOutputBytes));
    return 1;
  }
  const int64_t bytes = sizes.mib << 20;
  char* const huge = Map(bytes, true);
  std::printf(
      "{\"mib\": %lld, \"threads\": %lld, \"row_bytes\": %lld, "
      "\"in_flight\": %lld",
      static_cast<long long>(sizes.mib), static_cast<long long>(sizes.threads),
      static_cast<long long>(sizes.row_bytes),
      static_cast<long long>(sizes.in_flight));
  Print("lines", MeasureLines<false>(sizes, huge));
  Print("lines_write", MeasureLines<true>(sizes, huge));
  Print("gather", MeasureGatherOf(sizes, huge));
  munmap(huge, bytes);
  Print("lines_4k", MeasureLines<false>(sizes, Map(bytes, false)));
  std::printf("}\n");
  return 0;
}
