#include "ops/cc/admission/count_sketch.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ops/cc/hash/hash.h"
#include "ops/cc/hash/partition.h"
#include "ops/cc/memory/memory_block.h"
#include "ops/cc/memory/spin_lock.h"

namespace monolith_tf {
namespace {

constexpr int kCellBytes = 60;
constexpr int64_t kNumbersPerLine = 8;

// Cells of one interval in a line.
template <typename Cell>
int CellsOf(bool has_window) {
  return kCellBytes / static_cast<int>(sizeof(Cell)) / (has_window ? 2 : 1);
}

template <typename Cell>
Cell* CellsAt(uint8_t* bytes) {
  return reinterpret_cast<Cell*>(bytes);
}

}  // namespace

CountSketch::CountSketch(int64_t bytes, int64_t max_count, bool has_window,
                         uint64_t key)
    : num_lines_(std::max<int64_t>(
          1, bytes / kNumGroups / static_cast<int64_t>(sizeof(Line)))),
      is_wide_(max_count > std::numeric_limits<uint8_t>::max()),
      has_window_(has_window),
      key_(key) {}

bool CountSketch::MakeLines(Group* group) const {
  if (group->lines != nullptr) return true;
  group->memory = MemoryBlock::Allocate(num_lines_ * sizeof(Line));
  if (group->memory.empty()) return false;
  std::memset(group->memory.data(), 0, num_lines_ * sizeof(Line));
  group->lines = reinterpret_cast<Line*>(group->memory.data());
  return true;
}

template <typename Cell>
void CountSketch::RollOver(Line* line, uint32_t interval) const {
  if (interval <= line->interval) return;
  const size_t half = CellsOf<Cell>(true) * sizeof(Cell);
  if (interval - line->interval == 1) {
    std::memcpy(line->cells + half, line->cells, half);
  } else {
    std::memset(line->cells + half, 0, half);
  }
  std::memset(line->cells, 0, half);
  line->interval = interval;
}

template <typename Cell>
int64_t CountSketch::AddToLine(Line* line, uint64_t hash, int64_t count,
                               uint32_t interval) const {
  if (has_window_) RollOver<Cell>(line, interval);
  const int num_cells = CellsOf<Cell>(has_window_);
  Cell* const current = CellsAt<Cell>(line->cells);
  const Cell* const previous = current + num_cells;
  int places[kNumProbes];
  int64_t least = std::numeric_limits<Cell>::max();
  int64_t least_before = has_window_ ? least : 0;
  for (int probe = 0; probe < kNumProbes; ++probe) {
    const uint64_t bits = (hash >> (16 * probe)) & 0xFFFF;
    places[probe] = static_cast<int>(bits * num_cells >> 16);
    least = std::min<int64_t>(least, current[places[probe]]);
    if (has_window_) {
      least_before = std::min<int64_t>(least_before, previous[places[probe]]);
    }
  }
  const int64_t raised =
      std::min<int64_t>(std::numeric_limits<Cell>::max(), least + count);
  for (const int place : places) {
    current[place] = std::max(current[place], static_cast<Cell>(raised));
  }
  return raised + least_before;
}

int64_t CountSketch::Add(int64_t id, int64_t count, uint32_t interval) {
  const uint64_t hash = IdKey(key_, id);
  // One more round, so that line and cells do not depend on each other.
  const uint64_t line_bits = Mix64(hash + 0x9E3779B97F4A7C15ULL);
  const auto line_number = static_cast<int64_t>(
      (static_cast<unsigned __int128>(line_bits) * num_lines_) >> 64);
  count = std::min(count, OccurrenceCounts::kMax);
  Group& group = groups_[GroupOf(id)];
  SpinLockHolder holder(&group.lock);
  if (!MakeLines(&group)) return OccurrenceCounts::kMax;
  Line* const line = group.lines + line_number;
  return is_wide_ ? AddToLine<uint16_t>(line, hash, count, interval)
                  : AddToLine<uint8_t>(line, hash, count, interval);
}

int64_t CountSketch::memory_bytes() const {
  int64_t bytes = sizeof(*this);
  for (const Group& group : groups_) {
    SpinLockHolder holder(&group.lock);
    bytes += static_cast<int64_t>(group.memory.bytes());
  }
  return bytes;
}

std::vector<int64_t> CountSketch::Export(int group_number) const {
  const Group& group = groups_[group_number];
  std::vector<int64_t> saved(num_lines_ * kNumbersPerLine);
  // A few lines under one hold; those that change meanwhile are saved before
  // or after the change.
  constexpr int64_t kLinesPerHold = 256;
  for (int64_t line = 0; line < num_lines_; line += kLinesPerHold) {
    const int64_t n = std::min(kLinesPerHold, num_lines_ - line);
    SpinLockHolder holder(&group.lock);
    if (group.lines == nullptr) return {};
    std::memcpy(saved.data() + line * kNumbersPerLine, group.lines + line,
                n * sizeof(Line));
  }
  return saved;
}

template <typename Cell>
void CountSketch::MergeLine(const Line& from, Line* to) const {
  Line other = from;
  if (has_window_) {
    RollOver<Cell>(&other, to->interval);
    RollOver<Cell>(to, other.interval);
  }
  const int num_cells = CellsOf<Cell>(/*has_window=*/false);
  Cell* const cells = CellsAt<Cell>(to->cells);
  const Cell* const others = CellsAt<Cell>(other.cells);
  for (int i = 0; i < num_cells; ++i) {
    cells[i] = std::max(cells[i], others[i]);
  }
}

absl::Status CountSketch::Import(int group_number, const int64_t* saved,
                                 int64_t num_saved) {
  if (num_saved == 0) return absl::OkStatus();
  const int64_t numbers_per_group = num_lines_ * kNumbersPerLine;
  if (num_saved % numbers_per_group != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the saved sketch of group ", group_number, " has ",
        num_saved / kNumbersPerLine, " lines of 64 bytes, this one has ",
        num_lines_, ". Restore with the sketch_bytes that it was saved with."));
  }
  Group& group = groups_[group_number];
  SpinLockHolder holder(&group.lock);
  if (!MakeLines(&group)) {
    return absl::ResourceExhaustedError("no memory for a sketch.");
  }
  for (int64_t i = 0; i < num_saved / kNumbersPerLine; ++i) {
    Line line;
    std::memcpy(&line, saved + i * kNumbersPerLine, sizeof(line));
    Line* const target = group.lines + i % num_lines_;
    if (is_wide_) {
      MergeLine<uint16_t>(line, target);
    } else {
      MergeLine<uint8_t>(line, target);
    }
  }
  return absl::OkStatus();
}

void CountSketch::Clear() {
  for (Group& group : groups_) {
    // Freed outside the lock.
    MemoryBlock memory;
    SpinLockHolder holder(&group.lock);
    memory = std::move(group.memory);
    group.lines = nullptr;
  }
}

}  // namespace monolith_tf
