#include "ops/cc/table/row_exporter.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "ops/cc/hash/partition.h"
#include "ops/cc/memory/copy_floats.h"
#include "ops/cc/memory/spin_lock.h"
#include "ops/cc/table/row.h"
#include "ops/cc/table/row_arena.h"
#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe.h"
#include "ops/cc/table/stripe_set.h"

namespace monolith_tf {
namespace {

// The order of an iteration within a stripe: bits of the keyed hash that have
// nothing to do with the stripe, so that nobody can choose ids that tie.
uint32_t OrderOf(uint64_t hash) { return static_cast<uint32_t>(hash); }

// The end of the piece of the order that starts at `begin` and holds about
// `num_wanted` of `num_rows` evenly spread rows.
uint64_t EndOfPiece(uint64_t begin, int64_t num_wanted, int64_t num_rows) {
  constexpr uint64_t kEnd = uint64_t{1} << 32;
  if (num_wanted >= num_rows) return kEnd;
  const double length =
      static_cast<double>(kEnd) * num_wanted / static_cast<double>(num_rows);
  return std::min(kEnd,
                  begin + std::max<uint64_t>(1, static_cast<uint64_t>(length)));
}

}  // namespace

template <typename Visit>
void RowExporter::VisitIds(Stripe* stripe, const Visit& visit) {
  StripeSet::WalkRecords<int64_t>(
      stripe, [&]() -> const RowArena& { return stripe->rows(); },
      [&](uint32_t handle) { return stripe->RowAt(handle)->id; }, visit);
}

int64_t RowExporter::AppendRows(const std::vector<int64_t>& from,
                                std::vector<int64_t>* ids,
                                std::vector<int64_t>* stamps,
                                std::vector<float>* rows) const {
  const int64_t width = layout_->row_width();
  const size_t n = from.size();
  const size_t begin = ids->size();
  const size_t first_stamp = stamps == nullptr ? 0 : stamps->size();
  const size_t first_float = rows == nullptr ? 0 : rows->size();
  ids->insert(ids->end(), from.begin(), from.end());
  if (stamps != nullptr) stamps->resize(first_stamp + n);
  if (rows != nullptr) rows->resize(first_float + n * width);
  std::vector<char> exists(n, 0);
  stripes_->ForEachRow(
      from.data(), static_cast<int64_t>(n),
      rows == nullptr ? sizeof(Row) : layout_->record_bytes(), [](int64_t) {},
      [&](int64_t position, const Row* row) {
        exists[position] = 1;
        if (stamps != nullptr) {
          (*stamps)[first_stamp + position] =
              layout_->tracks_changes() ? StampOf(*row) : 0;
        }
        if (rows != nullptr) {
          layout_->ReadAll(row, rows->data() + first_float + position * width);
        }
      },
      [](int64_t) {});
  // Rows that were removed meanwhile are taken out.
  size_t kept = 0;
  for (size_t i = 0; i < n; ++i) {
    if (!exists[i]) continue;
    if (kept != i) {
      (*ids)[begin + kept] = (*ids)[begin + i];
      if (stamps != nullptr) {
        (*stamps)[first_stamp + kept] = (*stamps)[first_stamp + i];
      }
      if (rows != nullptr) {
        CopyFloats(rows->data() + first_float + i * width, width,
                   rows->data() + first_float + kept * width);
      }
    }
    ++kept;
  }
  ids->resize(begin + kept);
  if (stamps != nullptr) stamps->resize(first_stamp + kept);
  if (rows != nullptr) rows->resize(first_float + kept * width);
  return static_cast<int64_t>(kept);
}

int64_t RowExporter::ExportChunk(int64_t cursor, int64_t max_rows,
                                 std::vector<int64_t>* ids,
                                 std::vector<float>* rows,
                                 std::vector<int64_t>* stamps) const {
  // A cursor is a stripe in the upper half, a place of its order in the lower.
  if (cursor < 0 || (cursor >> 32) >= StripeSet::kNumStripes) return -1;
  auto stripe_number = static_cast<int>(cursor >> 32);
  auto begin = static_cast<uint64_t>(cursor & 0xFFFFFFFF);
  int64_t num_left = std::max<int64_t>(max_rows, 1);
  std::vector<int64_t> unused_ids;
  if (ids == nullptr) ids = &unused_ids;
  // (order, id) of the piece in hand.
  std::vector<std::pair<uint32_t, int64_t>> piece;
  std::vector<int64_t> chosen;
  while (num_left > 0) {
    Stripe* const stripe = stripes_->at(stripe_number);
    int64_t num_rows;
    {
      SpinLockHolder holder(stripe->lock());
      num_rows = stripe->num_rows();
    }
    uint64_t end = EndOfPiece(begin, num_left, num_rows);
    piece.clear();
    VisitIds(stripe, [&](int64_t id) {
      const uint32_t order = OrderOf(stripes_->hash()(id));
      if (order >= begin && order < end) piece.emplace_back(order, id);
    });
    std::sort(piece.begin(), piece.end());
    // A row that was removed and inserted meanwhile is walked over twice.
    piece.erase(std::unique(piece.begin(), piece.end()), piece.end());
    // More than were expected: the rest is for the next call. Ids of equal
    // order stay together.
    auto last = static_cast<int64_t>(piece.size());
    if (last > num_left) {
      last = num_left;
      while (last > 1 && piece[last].first == piece[last - 1].first) --last;
      if (piece[last].first == piece[0].first) {
        while (last < static_cast<int64_t>(piece.size()) &&
               piece[last].first == piece[0].first) {
          ++last;
        }
      }
      if (last < static_cast<int64_t>(piece.size())) end = piece[last].first;
    }
    chosen.clear();
    for (int64_t i = 0; i < last; ++i) chosen.push_back(piece[i].second);
    num_left -= AppendRows(chosen, ids, stamps, rows);
    begin = end;
    if (end >> 32 != 0) {
      begin = 0;
      if (++stripe_number == StripeSet::kNumStripes) return -1;
    }
  }
  return (static_cast<int64_t>(stripe_number) << 32) |
         static_cast<int64_t>(begin);
}

void RowExporter::ExportGroups(int first_group, int last_group,
                               std::vector<int64_t>* group_counts,
                               std::vector<int64_t>* ids,
                               std::vector<int64_t>* stamps,
                               std::vector<float>* rows) const {
  first_group = std::clamp(first_group, 0, kNumGroups);
  last_group = std::clamp(last_group, first_group, kNumGroups);
  std::vector<std::vector<int64_t>> ids_of_group(last_group - first_group);
  for (const auto& stripe : *stripes_) {
    VisitIds(stripe.get(), [&](int64_t id) {
      const int group = GroupOf(id);
      if (group >= first_group && group < last_group) {
        ids_of_group[group - first_group].push_back(id);
      }
    });
  }
  group_counts->clear();
  ids->clear();
  stamps->clear();
  rows->clear();
  for (std::vector<int64_t>& members : ids_of_group) {
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
    group_counts->push_back(AppendRows(members, ids, stamps, rows));
    members = std::vector<int64_t>();
  }
}

}  // namespace monolith_tf
