// table_config.h
//
// The config of a table. Two tables of one name must have equal configs.
// config_validation.h checks them.

#ifndef MONOLITH_TF_OPS_CC_CONFIG_TABLE_CONFIG_H_
#define MONOLITH_TF_OPS_CC_CONFIG_TABLE_CONFIG_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace monolith_tf {

// The largest number of weights of a row.
inline constexpr int64_t kMaxDim = 65536;

// Changes to a gradient or a row around the step of any optimizer. Zero turns a
// member off.
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
//   kind          hyperparameters; those in [] are optional, default 0
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
// "adamw" is "adam", for use with weight_decay. The last two take no
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

// A slice of a row with separate optimizer, initializer and precision.
struct SegmentConfig {
  int64_t dim = 0;
  OptimizerConfig optimizer;
  InitializerConfig initializer;
  PrecisionConfig precision;
};

// The rule by which ids get a row.
struct AdmissionConfig {
  // "all": at the first gradient.
  // "count": once an id occurred min_count times, counted exactly.
  // "sketch": the same, counted in a sketch of sketch_bytes: sometimes too
  //   early, never too late (count_sketch.h).
  // "probability": each occurrence admits with this probability.
  std::string kind = "all";
  int64_t min_count = 1;
  float probability = 1;
  // "sketch": bytes of the whole table, over all shards.
  int64_t sketch_bytes = 0;
  // "count", "sketch": only occurrences within the last window_seconds of event
  // time count; 0: all do. occurrence_window.h defines "last".
  int64_t window_seconds = 0;
  // Whether a lookup reads zeros for an id without a row, or its initial row.
  bool reads_zeros = false;
};

// The rules by which rows are evicted.
struct EvictionConfig {
  // A row expires when its last update is older than this; 0: never.
  int64_t ttl_seconds = 0;
  // How far an event time may be ahead of both the server's clock and the
  // latest time that the table has seen; 0 for no limit.
  int64_t max_future_seconds = 0;
  // The capacity of a shard; 0: no limit. If it holds more after an update, the
  // lowest rows by the policy are evicted (in a large table, the lowest of
  // small random samples), rows of that update last. max_bytes counts rows,
  // their part of the index at its largest and, with admission "count",
  // counters of ids, which take at most half of it. It does not count room for
  // new rows: an eighth, and per stripe (64) a slab of at most 128 KiB, 16 KiB
  // of index, and what the pool keeps (memory_pool.h).
  int64_t max_rows = 0;
  int64_t max_bytes = 0;
  // "lru": longest without an update; "lfu": fewest occurrences;
  // "lowest_norm". Among equal rows, the one with the earlier last update goes
  // first, then the smaller id.
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
  // Whether rows store their time, cut and frequency, for 8 bytes per row.
  // Without it, a table has no deltas, no expiry and no cap except by norm.
  bool tracks_changes = true;
  // Rows of this shard whose memory is allocated from the start. Does not
  // affect the rows: configs that differ in it alone are equal.
  int64_t initial_capacity = 0;

  // The config of a table of float32 rows of one segment.
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
