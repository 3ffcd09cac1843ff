// row_exporter.h
//
// Reads the rows of a table while others change it, in chunks of any size or
// by checkpoint group.
//
// A stripe is read in two passes: first its ids, a few under each hold of the
// lock, then their rows, like a lookup. So a row that exists throughout is
// returned exactly once, whatever happens to others meanwhile; one that is
// removed and inserted again may be returned twice by a sequence of chunks, or
// never. Values are those at the time of reading: rows of one call are not of
// one moment.
//
// Thread safety: immutable; every method may be called from any number of
// threads, with no lock of a stripe held.
//
// Cost. Each call walks the ids of every stripe that it reads from: ask for
// many rows, or many groups, at a time. Memory: 12 to 16 bytes per row of one
// stripe (ExportChunk), 8 bytes per row of the groups (ExportGroups), and the
// outputs.

#ifndef MONOLITH_TF_OPS_CC_TABLE_ROW_EXPORTER_H_
#define MONOLITH_TF_OPS_CC_TABLE_ROW_EXPORTER_H_

#include <cstdint>
#include <vector>

#include "ops/cc/table/row_layout.h"
#include "ops/cc/table/stripe_set.h"

namespace monolith_tf {

class RowExporter {
 public:
  // `layout` and `stripes` outlive it.
  RowExporter(const RowLayout* layout, const StripeSet* stripes)
      : layout_(layout), stripes_(stripes) {}
  RowExporter(const RowExporter&) = delete;
  RowExporter& operator=(const RowExporter&) = delete;

  // Appends the next rows: ids [m], rows [m, row_width] and stamps [m]
  // (StampOf), m <= max_rows (>= 1) except for ties of a hash. Starts at cursor
  // 0 and returns the next cursor, or -1 at the end; other cursors name no
  // place that it returned. An output may be null.
  int64_t ExportChunk(int64_t cursor, int64_t max_rows,
                      std::vector<int64_t>* ids, std::vector<float>* rows,
                      std::vector<int64_t>* stamps) const;

  // Replaces the outputs by the rows whose checkpoint group (partition.h) lies
  // in [first_group, last_group), ordered by group and then by id.
  // `group_counts` [last_group - first_group] gets the rows of each. Both
  // bounds are clamped to the groups that there are.
  void ExportGroups(int first_group, int last_group,
                    std::vector<int64_t>* group_counts,
                    std::vector<int64_t>* ids, std::vector<int64_t>* stamps,
                    std::vector<float>* rows) const;

 private:
  // Calls visit(id) for the rows of a stripe, without the lock.
  template <typename Visit>
  static void VisitIds(Stripe* stripe, const Visit& visit);
  // Appends the whole rows of distinct ids to the outputs; `stamps` and `rows`
  // may be null. Leaves out ids that were removed. Returns how many there are.
  int64_t AppendRows(const std::vector<int64_t>& from,
                     std::vector<int64_t>* ids, std::vector<int64_t>* stamps,
                     std::vector<float>* rows) const;

  const RowLayout* const layout_;
  const StripeSet* const stripes_;
};

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_TABLE_ROW_EXPORTER_H_
