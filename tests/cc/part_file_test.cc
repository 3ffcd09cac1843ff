// Part files: their bytes, what is read back, and what damage does.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/snapshot/part_format.h"
#include "ops/cc/snapshot/part_reader.h"
#include "ops/cc/snapshot/part_writer.h"
#include "ops/cc/storage/crc32c.h"
#include "ops/cc/storage/file.h"
#include "ops/cc/table/table_set.h"
#include "tests/cc/test_support.h"
#include "tests/cc/workers.h"

namespace monolith_tf {
namespace {

constexpr std::array<uint8_t, 16> kId = {1, 2,  3,  4,  5,  6,  7,  8,
                                         9, 10, 11, 12, 13, 14, 15, 16};

class MemoryWriter : public FileWriter {
 public:
  explicit MemoryWriter(std::string* bytes, int64_t limit = int64_t{1} << 40)
      : bytes_(bytes), limit_(limit) {}
  const std::string& path() const override { return path_; }
  absl::Status Append(const void* data, size_t size) override {
    if (static_cast<int64_t>(bytes_->size() + size) > limit_) {
      return absl::ResourceExhaustedError("The disk is full.");
    }
    bytes_->append(static_cast<const char*>(data), size);
    return absl::OkStatus();
  }
  absl::Status Sync() override { return absl::OkStatus(); }
  absl::Status Close() override { return absl::OkStatus(); }

 private:
  const std::string path_ = "memory";
  std::string* const bytes_;
  const int64_t limit_;
};

class MemoryReader : public FileReader {
 public:
  explicit MemoryReader(std::string bytes) : bytes_(std::move(bytes)) {}
  const std::string& path() const override { return path_; }
  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  absl::Status Read(int64_t offset, size_t size, void* data) const override {
    if (offset < 0 || offset + static_cast<int64_t>(size) > this->size()) {
      return absl::DataLossError("memory: the file ends before.");
    }
    std::memcpy(data, bytes_.data() + offset, size);
    return absl::OkStatus();
  }

 private:
  const std::string path_ = "memory";
  const std::string bytes_;
};

absl::StatusOr<std::unique_ptr<PartReader>> Open(const std::string& bytes) {
  return PartReader::Open(std::make_unique<MemoryReader>(bytes));
}

// Writes the next snapshot of a set: all of it, or what follows parent_cut.
std::string Write(TableSet* set, int64_t parent_cut = -1, int num_threads = 2) {
  auto snapshot = set->BeginSnapshot(parent_cut);
  EXPECT_TRUE(snapshot.ok()) << snapshot.status();
  std::string bytes;
  MemoryWriter file(&bytes);
  const std::atomic<bool> never{false};
  auto summary =
      PartWriter::Write(snapshot->get(), kId, num_threads, never, &file);
  EXPECT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->bytes, static_cast<int64_t>(bytes.size()));
  EXPECT_EQ(summary->crc, Crc32c(bytes.data(), bytes.size()));
  return bytes;
}

void ReadInto(const std::string& bytes, TableSet* set,
              const PartReader::Options& options = {}) {
  auto reader = Open(bytes);
  ASSERT_TRUE(reader.ok()) << reader.status();
  auto counts = (*reader)->ReadInto(set, options);
  ASSERT_TRUE(counts.ok()) << counts.status();
}

std::map<int64_t, SavedRow> RowsOf(const std::vector<TableSet*>& sets,
                                   const std::string& table) {
  std::map<int64_t, SavedRow> rows;
  for (TableSet* set : sets) {
    for (auto& [id, row] : Export(**set->Find(table))) {
      EXPECT_TRUE(rows.insert({id, row}).second) << "id " << id;
    }
  }
  return rows;
}

void ExpectSame(const std::map<int64_t, SavedRow>& found,
                const std::map<int64_t, SavedRow>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [id, row] : expected) {
    ASSERT_EQ(found.count(id), 1u) << "id " << id;
    EXPECT_EQ(found.at(id).floats, row.floats) << "id " << id;
    EXPECT_EQ(found.at(id).stamp, row.stamp) << "id " << id;
  }
}

std::unique_ptr<TableSet> NewSet(int shard = 0, int num_shards = 1) {
  auto set = std::make_unique<TableSet>("ranker", shard, num_shards, 77);
  EXPECT_TRUE(set->CreateTable(AdagradConfig(4, "movie")).ok());
  TableConfig user = AdamConfig(2, "user");
  user.tracks_changes = false;
  EXPECT_TRUE(set->CreateTable(user).ok());
  return set;
}

// Steps the ids of [first, first + n) that the shard owns.
void StepOwned(TableSet* set, int64_t first, int64_t n) {
  for (const std::string& name : set->TableNames()) {
    Update update;
    for (const int64_t id : Range(first, n)) {
      if (OwnerOf(PartitionOf(id), set->num_shards()) == set->shard()) {
        update.ids.push_back(id);
      }
    }
    update.event_time = 5000 + first;
    ASSERT_TRUE(Apply(set->Find(name)->get(), update).ok());
  }
}

TEST(PartFileTest, GoldenBytesOfAnEmptyPart) {
  TableSet set("ranker", 1, 3, 77);
  const std::string bytes = Write(&set);
  std::string hex;
  for (const char byte : bytes) {
    absl::StrAppend(&hex,
                    absl::Hex(static_cast<uint8_t>(byte), absl::kZeroPad2));
  }
  EXPECT_EQ(hex.substr(0, 128),
            "4d5446504152540a010000000100000003000000000000000102030405060708"
            "090a0b0c0d0e0f104d00000000000000ffffffffffffffff0100000000000000");
  EXPECT_EQ(bytes.size(), 72u + 40u + 24u);
}

TEST(PartFileTest, AWholeSetComesBackBitForBit) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 30000);
  StepOwned(set.get(), 5000, 500);
  const std::string bytes = Write(set.get());
  auto restored = NewSet();
  ReadInto(bytes, restored.get());
  for (const char* table : {"movie", "user"}) {
    ExpectSame(RowsOf({restored.get()}, table), RowsOf({set.get()}, table));
    const Clock found = (*restored->Find(table))->clock();
    const Clock expected = (*set->Find(table))->clock();
    EXPECT_EQ(found.global_step, expected.global_step);
    EXPECT_EQ(found.event_time, expected.event_time);
  }
}

TEST(PartFileTest, PartsOfSomeServersComeBackOnOthers) {
  for (const auto& [n, m] : std::vector<std::pair<int, int>>{
           {1, 3}, {3, 2}, {4, 1}, {2, 70}, {70, 2}}) {
    std::vector<std::unique_ptr<TableSet>> saved, restored;
    std::vector<TableSet*> before, after;
    std::vector<std::string> parts;
    for (int shard = 0; shard < n; ++shard) {
      saved.push_back(NewSet(shard, n));
      StepOwned(saved.back().get(), -2000, 4000);
      parts.push_back(Write(saved.back().get()));
      before.push_back(saved.back().get());
    }
    for (int shard = 0; shard < m; ++shard) {
      restored.push_back(NewSet(shard, m));
      for (const std::string& part : parts) {
        ReadInto(part, restored.back().get());
      }
      after.push_back(restored.back().get());
    }
    for (const char* table : {"movie", "user"}) {
      ExpectSame(RowsOf(after, table), RowsOf(before, table));
    }
  }
}

TEST(PartFileTest, AChainOfIncrementsComesBackWithItsDeletions) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 5000);
  std::vector<std::string> chain = {Write(set.get())};
  int64_t parent = set->cut();
  for (int i = 0; i < 5; ++i) {
    StepOwned(set.get(), i * 700, 400);
    StepOwned(set.get(), 6000 + i * 100, 100);
    const std::vector<int64_t> gone = Range(i * 50, 30);
    (*set->Find("movie"))->Remove(gone.data(), gone.size());
    chain.push_back(Write(set.get(), parent));
    parent = set->cut();
    EXPECT_LT(chain.back().size(), chain[0].size());
  }
  auto restored = NewSet();
  for (size_t i = 0; i < chain.size(); ++i) {
    auto reader = Open(chain[i]);
    ASSERT_TRUE(reader.ok());
    EXPECT_EQ((*reader)->header().from_cut, static_cast<int64_t>(i) - (i == 0));
    PartReader::Options options;
    options.reads_state = i + 1 == chain.size();
    // The other table is whole in every file.
    if (!options.reads_state) options.tables = {"movie"};
    ASSERT_TRUE((*reader)->ReadInto(restored.get(), options).ok());
  }
  ExpectSame(RowsOf({restored.get()}, "movie"), RowsOf({set.get()}, "movie"));
  ExpectSame(RowsOf({restored.get()}, "user"), RowsOf({set.get()}, "user"));
}

TEST(PartFileTest, DeltasAndSnapshotsTakeNothingFromEachOther) {
  TableSet set("ranker", 0, 1, 77);
  ASSERT_TRUE(set.CreateTable(AdagradConfig(4, "movie")).ok());
  StepOwned(&set, 0, 1000);
  const std::string full = Write(&set);
  const int64_t parent = set.cut();
  ASSERT_TRUE(set.StartDeltas().ok());
  const int64_t started = set.cut();
  StepOwned(&set, 100, 50);
  ASSERT_TRUE(set.TakeDelta(started).ok());
  const int64_t acked = set.cut();
  StepOwned(&set, 300, 50);
  const std::string increment = Write(&set, parent);
  StepOwned(&set, 500, 50);
  auto delta = set.TakeDelta(acked);
  ASSERT_TRUE(delta.ok());
  std::vector<int64_t> expected = Range(300, 50);
  for (const int64_t id : Range(500, 50)) expected.push_back(id);
  EXPECT_EQ(delta->tables[0].ids, expected);
  // Deltas that stop leave the changes of the next snapshot.
  const int64_t second = set.cut() - 1;
  set.StopDeltas();
  const std::string last = Write(&set, second);
  TableSet restored("ranker", 0, 1, 78);
  ASSERT_TRUE(restored.CreateTable(AdagradConfig(4, "movie")).ok());
  for (const std::string& part : {full, increment, last}) {
    ReadInto(part, &restored);
  }
  ExpectSame(RowsOf({&restored}, "movie"), RowsOf({&set}, "movie"));
}

TEST(PartFileTest, AFailedSnapshotLeavesItsChangesToTheNext) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 1000);
  const std::string full = Write(set.get());
  const int64_t parent = set->cut();
  StepOwned(set.get(), 100, 50);
  ASSERT_TRUE(set->BeginSnapshot(parent).ok());  // and dropped
  StepOwned(set.get(), 300, 50);
  const std::string increment = Write(set.get(), parent);
  auto restored = NewSet();
  PartReader::Options options;
  options.tables = {"movie"};
  ReadInto(full, restored.get(), options);
  ReadInto(increment, restored.get(), options);
  ExpectSame(RowsOf({restored.get()}, "movie"), RowsOf({set.get()}, "movie"));
}

TEST(PartFileTest, AParentThatIsNotKnownIsOutOfRange) {
  auto set = NewSet();
  ExpectError(set->BeginSnapshot(0).status(), absl::StatusCode::kOutOfRange,
              {"'ranker'", "parent_cut 0", "full snapshot"});
  Write(set.get());
  ASSERT_TRUE(set->Renew(78).ok());
  ExpectError(set->BeginSnapshot(1).status(), absl::StatusCode::kOutOfRange,
              {"after cut 2", "parent_cut 1"});
}

TEST(PartFileTest, TwoSnapshotsAtOnceAreRefused) {
  auto set = NewSet();
  auto first = set->BeginSnapshot(-1);
  ASSERT_TRUE(first.ok());
  ExpectError(set->BeginSnapshot(-1).status(),
              absl::StatusCode::kFailedPrecondition,
              {"'ranker'", "is being written"});
  first->reset();
  EXPECT_TRUE(set->BeginSnapshot(-1).ok());
}

TEST(PartFileTest, UpdatesMeanwhileDoNotShow) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 20000);
  const auto expected = RowsOf({set.get()}, "movie");
  auto snapshot = set->BeginSnapshot(-1);
  ASSERT_TRUE(snapshot.ok());
  std::string bytes;
  MemoryWriter file(&bytes);
  const std::atomic<bool> never{false};
  Table* const movie = set->Find("movie")->get();
  RunTogether({{[&](std::mt19937_64*) {
                  auto summary =
                      PartWriter::Write(snapshot->get(), kId, 2, never, &file);
                  EXPECT_TRUE(summary.ok()) << summary.status();
                },
                /*goes_on=*/false},
               {[&](std::mt19937_64* random) {
                  Update update;
                  update.ids = Range((*random)() % 19000, 1000);
                  EXPECT_TRUE(Apply(movie, update).ok());
                  const std::vector<int64_t> gone =
                      Range((*random)() % 19000, 100);
                  movie->Remove(gone.data(), gone.size());
                },
                /*goes_on=*/true}});
  auto restored = NewSet();
  ReadInto(bytes, restored.get());
  ExpectSame(RowsOf({restored.get()}, "movie"), expected);
}

TEST(PartFileTest, ACancelledWriteIsAborted) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 100);
  auto snapshot = set->BeginSnapshot(-1);
  std::string bytes;
  MemoryWriter file(&bytes);
  const std::atomic<bool> at_once{true};
  ExpectError(
      PartWriter::Write(snapshot->get(), kId, 1, at_once, &file).status(),
      absl::StatusCode::kAborted, {"cancelled"});
}

TEST(PartFileTest, ARestoreMeanwhileBreaksTheSnapshotAndRefusesTheNext) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 1000);
  auto snapshot = set->BeginSnapshot(-1);
  ASSERT_TRUE(snapshot.ok());
  set->BeginRestore({"movie", "user"});
  std::string bytes;
  MemoryWriter file(&bytes);
  const std::atomic<bool> never{false};
  ExpectError(PartWriter::Write(snapshot->get(), kId, 1, never, &file).status(),
              absl::StatusCode::kAborted, {"were restored while"});
  snapshot->reset();
  ExpectError(set->BeginSnapshot(-1).status(), absl::StatusCode::kAborted,
              {"being restored"});
  ASSERT_TRUE(set->EndRestore({"movie", "user"}, 79).ok());
  ExpectError(set->BeginSnapshot(1).status(), absl::StatusCode::kOutOfRange,
              {"full snapshot"});
  auto restored = NewSet();
  ReadInto(Write(set.get()), restored.get());
  ExpectSame(RowsOf({restored.get()}, "movie"), RowsOf({set.get()}, "movie"));
}

TEST(PartFileTest, AFullDiskEndsTheWriteAndHarmsNothing) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 30000);
  {
    auto snapshot = set->BeginSnapshot(-1);
    std::string bytes;
    MemoryWriter file(&bytes, 100000);
    const std::atomic<bool> never{false};
    ExpectError(
        PartWriter::Write(snapshot->get(), kId, 2, never, &file).status(),
        absl::StatusCode::kResourceExhausted, {"disk is full"});
  }
  auto restored = NewSet();
  ReadInto(Write(set.get()), restored.get());
  ExpectSame(RowsOf({restored.get()}, "movie"), RowsOf({set.get()}, "movie"));
}

TEST(PartFileTest, AnotherTableOrRowLengthIsRefusedBeforeAnythingChanges) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 100);
  const std::string bytes = Write(set.get());
  TableSet none("other", 0, 1, 5);
  auto reader = Open(bytes);
  ASSERT_TRUE(reader.ok());
  ExpectError((*reader)->ReadInto(&none, {}).status(),
              absl::StatusCode::kInvalidArgument, {"'movie'", "does not have"});
  ASSERT_TRUE(none.CreateTable(AdagradConfig(4, "movie")).ok());
  ASSERT_TRUE(none.CreateTable(AdagradConfig(9, "user")).ok());
  ExpectError((*reader)->ReadInto(&none, {}).status(),
              absl::StatusCode::kInvalidArgument,
              {"'user'", "6 floats in the file", "with 18"});
  EXPECT_EQ((*none.Find("movie"))->size(), 0);
  PartReader::Options options;
  options.tables = {"movie"};
  EXPECT_TRUE((*reader)->ReadInto(&none, options).ok());
  EXPECT_EQ((*none.Find("movie"))->size(), 100);
}

TEST(PartFileTest, EveryFlippedByteIsFound) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 20);
  const std::string bytes = Write(set.get(), -1, 1);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    auto reader = Open(damaged);
    const absl::Status status =
        reader.ok() ? (*reader)->Verify() : reader.status();
    ExpectError(status, absl::StatusCode::kDataLoss, {"memory: at offset "});
  }
}

TEST(PartFileTest, EveryShorterFileIsRefused) {
  auto set = NewSet();
  StepOwned(set.get(), 0, 20);
  const std::string bytes = Write(set.get(), -1, 1);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ExpectError(Open(bytes.substr(0, size)).status(),
                absl::StatusCode::kDataLoss, {"memory: at offset "});
  }
}

TEST(PartFileTest, RequestsTravelWithTheSnapshot) {
  auto set = NewSet();
  auto snapshot = set->BeginSnapshot(-1);
  (*snapshot)->requests = {3, 17, -4};
  std::string bytes;
  MemoryWriter file(&bytes);
  const std::atomic<bool> never{false};
  ASSERT_TRUE(PartWriter::Write(snapshot->get(), kId, 1, never, &file).ok());
  auto reader = Open(bytes);
  ASSERT_TRUE(reader.ok());
  std::vector<int64_t> requests;
  ASSERT_TRUE((*reader)->ReadRequests(&requests).ok());
  EXPECT_EQ(requests, (std::vector<int64_t>{3, 17, -4}));
}

}  // namespace
}  // namespace monolith_tf
