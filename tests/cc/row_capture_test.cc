#include "ops/cc/table/row_capture.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>

#include "ops/cc/table/row.h"

namespace monolith_tf {
namespace {

Row RowOf(int64_t id, uint32_t cut) {
  Row row{};
  row.id = id;
  row.cut = cut;
  return row;
}

TEST(RowCaptureTest, KeepsRowsOfBeforeTheMarkAndNoOthers) {
  std::atomic<int64_t> bytes{0};
  RowCapture capture(sizeof(Row), 5, &bytes);
  const Row before = RowOf(1, 4), at = RowOf(2, 5), after = RowOf(3, 6);
  EXPECT_TRUE(capture.IsUnchanged(&before));
  EXPECT_FALSE(capture.IsUnchanged(&at));
  capture.BeforeChange(&before);
  capture.BeforeChange(&at);
  capture.BeforeChange(&after);
  const CapturedRows rows = capture.Take();
  ASSERT_EQ(rows.size(), 1);
  EXPECT_EQ(rows.at(0)->id, 1);
  EXPECT_EQ(capture.Take().size(), 0);
}

TEST(RowCaptureTest, WithoutCutsItRemembersIds) {
  std::atomic<int64_t> bytes{0};
  RowCapture capture(sizeof(int64_t), 0, &bytes);
  const Row changed = RowOf(1, 0), inserted = RowOf(2, 0), other = RowOf(3, 0);
  capture.BeforeChange(&changed);
  capture.BeforeChange(&changed);
  capture.AfterInsert(&inserted);
  capture.BeforeChange(&inserted);
  EXPECT_FALSE(capture.IsUnchanged(&changed));
  EXPECT_FALSE(capture.IsUnchanged(&inserted));
  EXPECT_TRUE(capture.IsUnchanged(&other));
  EXPECT_EQ(capture.Take().size(), 1);
}

TEST(RowCaptureTest, CountsTheBytesOfItsCopies) {
  std::atomic<int64_t> bytes{0};
  {
    RowCapture capture(sizeof(Row), 9, &bytes);
    for (int64_t id = 0; id < 1000; ++id) {
      const Row row = RowOf(id, 1);
      capture.BeforeChange(&row);
    }
    EXPECT_GE(bytes, 1000 * static_cast<int64_t>(sizeof(Row)));
    const CapturedRows rows = capture.Take();
    EXPECT_EQ(bytes, 0);
    ASSERT_EQ(rows.size(), 1000);
    for (int64_t id = 0; id < 1000; ++id) EXPECT_EQ(rows.at(id)->id, id);
    const Row row = RowOf(1000, 1);
    capture.BeforeChange(&row);
    EXPECT_GT(bytes, 0);
  }
  EXPECT_EQ(bytes, 0);
}

}  // namespace
}  // namespace monolith_tf
