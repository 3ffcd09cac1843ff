// table_config.h
//
// What a table is made from. Two tables of one name must have equal configs.

#ifndef MONOLITH_TF_OPS_CC_CONFIG_TABLE_CONFIG_H_
#define MONOLITH_TF_OPS_CC_CONFIG_TABLE_CONFIG_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace monolith_tf {

// The largest number of weights of a row.
inline constexpr int64_t kMaxDim = 65536;

// What is done to a gradient or a row around the step of any optimizer. Zero
// turns a member off.
struct RegularizationConfig {
  // Decoupled: weights -= rate * weight_decay * weights, before the step.
  float weight_decay = 0;
  // gradient += 2 * l2 * weights.
  float l2 = 0;
  // Each element of a gradient is clipped to [-clip_value, clip_value].
  float clip_value = 0;
  // A row's gradient is scaled down to this norm.
  float clip_norm = 0;
  // A row is scaled down to this norm after the step.
  float max_norm = 0;
};

// The row optimizer of a segment.
//
//   kind          hyperparameters; in [] what may be left out, which is 0
//   "sgd"         {[0 <= momentum <= 1, nesterov: 0 or 1]}
//   "adagrad", "row_wise_adagrad"
//                 {initial_accumulator >= 0, epsilon >= 0}, not both 0
//   "adadelta"    {0 <= rho < 1, epsilon > 0}
//   "rmsprop"     {0 <= rho < 1, 0 <= momentum <= 1, epsilon > 0, centered}
//   "adam", "adamw"
//                 {0 <= beta_1 < 1, 0 <= beta_2 < 1, epsilon > 0, [amsgrad,
//                 per_row_step]}
//   "ftrl"        {-1 <= learning_rate_power <= 0, initial_accumulator, l1, l2,
//                 l2_shrinkage, beta}
//   "group_adagrad"
//                 {initial_accumulator, epsilon, l1, l2, l21}
//   "group_ftrl"  {initial_accumulator, beta, l1, l2, l21}
//   "delay_compensated_sgd"
//                 {variance_control}
//   "delay_compensated_adagrad"
//                 {variance_control, initial_accumulator, epsilon}
//   "moving_average"
//                 {0 <= momentum <= 1}
//   "batch_softmax"
//                 {}
//
// "adamw" is "adam" whose weight_decay is meant. The last two take no
// regularization.
struct OptimizerConfig {
  std::string kind;
  std::vector<float> hyperparameters;
  RegularizationConfig regularization = {};
};

// The function that gives an id its first weights; initializer.h lists kinds
// and parameters.
struct InitializerConfig {
  std::string kind;
  std::vector<float> parameters;
};

// How the weights of a segment are stored; precision.h lists kinds and
// parameters.
struct PrecisionConfig {
  std::string kind = "float32";
  std::vector<float> parameters;
};

// A slice of a row with an optimizer, an initializer and a precision of its
// own.
struct SegmentConfig {
  int64_t dim = 0;
  OptimizerConfig optimizer;
  InitializerConfig initializer;
  PrecisionConfig precision;
};

// Which ids get a row.
struct AdmissionConfig {
  // "all": at the first gradient.
  // "count": once an id occurred min_count times, counted exactly.
  // "sketch": the same, counted in a sketch of sketch_bytes: early at times,
  //   never late (count_sketch.h).
  // "probability": each occurrence admits with this probability.
  std::string kind = "all";
  int64_t min_count = 1;
  float probability = 1;
  // "sketch": bytes of the whole table, over all shards.
  int64_t sketch_bytes = 0;
  // "count", "sketch": only occurrences of the last window_seconds of event
  // time count; 0: all do. See occurrence_window.h for what "last" means.
  int64_t window_seconds = 0;
  // What a lookup reads for an id without a row: zeros, or its initial row.
  bool reads_zeros = false;
};

// Which rows go.
struct EvictionConfig {
  // A row goes when its last update is older than this; 0: never.
  int64_t ttl_seconds = 0;
  // When a shard holds more rows after an update, or more bytes of rows, of
  // their part of the index at its largest and, with admission "count", of ids
  // that wait, the lowest rows by the policy go (of a large table the lowest of
  // a few random ones), but those of that update last; 0: no bound. Ids that
  // wait take at most half of max_bytes from the rows. Room for rows to come is
  // not counted: an eighth, and in each of 64 stripes a slab of at most
  // 128 KiB, 16 KiB of index, and what the pool keeps (memory_pool.h).
  int64_t max_rows = 0;
  int64_t max_bytes = 0;
  // "lru": longest without an update; "lfu": rarest; "lowest_norm". Of equal
  // rows that goes first whose last update was an earlier one; then the smaller
  // id.
  std::string policy = "lru";

  bool has_cap() const { return max_rows > 0 || max_bytes > 0; }
};

struct TableConfig {
  // Not empty; the initial rows depend on it.
  std::string name;
  // At least one. Their dims sum to 1 .. kMaxDim.
  std::vector<SegmentConfig> segments;
  uint64_t seed = 0;
  AdmissionConfig admission;
  EvictionConfig eviction;
  // Whether rows know their time, cut and frequency, for 8 bytes a row. A
  // table without has no deltas, no expiry and no cap but by norm.
  bool tracks_changes = true;
  // Rows of this shard that memory is kept ready for, from the start. It says
  // nothing of the rows: configs that differ in it alone are equal.
  int64_t initial_capacity = 0;

  // A table of float32 rows of one segment.
  static TableConfig OfOneSegment(std::string name, int64_t dim,
                                  OptimizerConfig optimizer,
                                  InitializerConfig initializer,
                                  uint64_t seed) {
    TableConfig config;
    config.name = std::move(name);
    config.segments.push_back(
        {dim, std::move(optimizer), std::move(initializer), {}});
    config.seed = seed;
    return config;
  }

  // Weights of a row.
  int64_t dim() const;

  // One line for error messages.
  std::string DebugString() const;
};

bool operator==(const RegularizationConfig& a, const RegularizationConfig& b);
inline bool operator!=(const RegularizationConfig& a,
                       const RegularizationConfig& b) {
  return !(a == b);
}
bool operator==(const TableConfig& a, const TableConfig& b);
inline bool operator!=(const TableConfig& a, const TableConfig& b) {
  return !(a == b);
}

}  // namespace monolith_tf

#endif  // MONOLITH_TF_OPS_CC_CONFIG_TABLE_CONFIG_H_
