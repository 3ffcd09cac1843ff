// Memory goes back to the system when rows go.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ops/cc/table/table.h"
#include "tests/cc/test_support.h"

namespace monolith_tf {
namespace {

// MONOLITH_TF_MEMORY_ROWS=5000000 runs the long form.
int64_t NumRows() {
  const char* const rows = std::getenv("MONOLITH_TF_MEMORY_ROWS");
  return rows == nullptr ? 1000000 : std::atoll(rows);
}

int64_t ResidentBytes() {
  long long pages = 0;
  long long resident = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr || std::fscanf(file, "%lld %lld", &pages, &resident) != 2)
    resident = 0;
  if (file != nullptr) std::fclose(file);
  return resident * sysconf(_SC_PAGESIZE);
}

bool IsSanitized() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#else
  return false;
#endif
}

constexpr int64_t kBatch = 16384;

void Insert(Table* table, const std::vector<int64_t>& ids, int64_t time) {
  for (size_t begin = 0; begin < ids.size(); begin += kBatch) {
    const size_t end = std::min(ids.size(), begin + kBatch);
    Update update;
    update.ids.assign(ids.begin() + begin, ids.begin() + end);
    update.event_time = time;
    ASSERT_TRUE(Apply(table, update).ok());
  }
}

TableConfig Config(int64_t ttl_seconds) {
  TableConfig config = AdagradConfig(16);
  config.eviction.ttl_seconds = ttl_seconds;
  return config;
}

struct Bytes {
  int64_t resident;
  int64_t reported;
};

// What a table of just these rows takes.
Bytes FreshTable(const std::vector<int64_t>& ids) {
  const int64_t before = ResidentBytes();
  const auto table = MakeTable(Config(0));
  Insert(table.get(), ids, 0);
  return {ResidentBytes() - before, table->memory_bytes()};
}

class MemoryReturnTest : public ::testing::TestWithParam<bool> {};

TEST_P(MemoryReturnTest, ATableThatLost90PercentIsNearlyAsSmallAsAFreshOne) {
  const bool removes_by_call = GetParam();
  std::mt19937_64 random(3);
  std::vector<int64_t> ids = Range(0, NumRows());
  std::shuffle(ids.begin(), ids.end(), random);
  const std::vector<int64_t> staying(ids.begin(), ids.begin() + NumRows() / 10);
  const std::vector<int64_t> going(ids.begin() + NumRows() / 10, ids.end());
  const Bytes fresh = FreshTable(staying);

  const int64_t before = ResidentBytes();
  const auto table = MakeTable(Config(removes_by_call ? 0 : 100));
  Insert(table.get(), ids, 1000);
  const int64_t full = table->memory_bytes();
  if (!removes_by_call) Insert(table.get(), staying, 2000);
  std::atomic<bool> is_done{false};
  std::atomic<int64_t> num_lookups{0};
  std::thread reader([&] {
    std::mt19937_64 reads(4);
    std::vector<int64_t> some(1000);
    std::vector<float> rows(some.size() * 16);
    const std::unique_ptr<bool[]> exists(new bool[some.size()]);
    do {
      for (int64_t& id : some) id = staying[reads() % staying.size()];
      table->Lookup(some.data(), some.size(), rows.data(), exists.get());
      for (size_t i = 0; i < some.size(); ++i) {
        EXPECT_TRUE(exists[i]) << some[i];
      }
      ++num_lookups;
    } while (!is_done);
  });
  if (removes_by_call) {
    for (size_t begin = 0; begin < going.size(); begin += kBatch) {
      const size_t end = std::min(going.size(), begin + kBatch);
      EXPECT_EQ(table->Remove(going.data() + begin, end - begin),
                static_cast<int64_t>(end - begin));
    }
    // Most of it needs no sweep on demand.
    if (!IsSanitized()) {
      const int64_t resident = ResidentBytes() - before;
      std::printf("before the sweep: resident %.2f x\n",
                  1.0 * resident / fresh.resident);
      EXPECT_LT(resident, 1.4 * fresh.resident);
    }
  }
  table->Sweep(2001);
  is_done = true;
  reader.join();

  EXPECT_EQ(table->size(), static_cast<int64_t>(staying.size()));
  EXPECT_GT(num_lookups, 0);
  const Bytes now = {ResidentBytes() - before, table->memory_bytes()};
  std::printf(
      "rows %zu: resident %.2f x, reported %.2f x of a fresh table; "
      "%.1f MB, %.1f MB when full\n",
      staying.size(), 1.0 * now.resident / fresh.resident,
      1.0 * now.reported / fresh.reported, now.resident / 1e6, full / 1e6);
  EXPECT_LT(now.reported, 1.4 * fresh.reported);
  // A sanitizer keeps what was freed.
  if (!IsSanitized()) {
    EXPECT_LT(now.resident, 1.4 * fresh.resident);
  }
  const std::vector<bool> exists = Exists(*table, ids);
  for (size_t i = 0; i < ids.size(); ++i) {
    ASSERT_EQ(exists[i], i < staying.size()) << ids[i];
  }
}

INSTANTIATE_TEST_SUITE_P(ByCallAndByTime, MemoryReturnTest,
                         ::testing::Values(true, false),
                         [](const ::testing::TestParamInfo<bool>& info) {
                           return info.param ? "Remove" : "Ttl";
                         });

TEST(MemoryReturnTest, ClearGivesEverythingBack) {
  const int64_t before = ResidentBytes();
  const auto table = MakeTable(Config(0));
  const int64_t empty = table->memory_bytes();
  Insert(table.get(), Range(0, NumRows()), 0);
  const int64_t full = ResidentBytes() - before;
  table->Clear();
  // The index keeps a directory.
  EXPECT_LT(table->memory_bytes(), empty + full / 1000);
  if (!IsSanitized()) {
    EXPECT_LT(ResidentBytes() - before, full / 4);
  }
}

}  // namespace
}  // namespace monolith_tf
