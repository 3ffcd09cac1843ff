# Objects and programs of tests/cc/run.sh and benchmarks/cc/run.sh, which pass
# CXX, FLAGS, TEST_FLAGS (after FLAGS, for tests), LIBRARIES, OUT (where they go)
# and GOALS (the programs).

# The core: every folder that includes nothing of TensorFlow.
core := $(patsubst ops/cc/%.cc,$(OUT)/core/%.o,$(filter-out \
	ops/cc/kernels/% ops/cc/registrations/%,$(wildcard ops/cc/*/*.cc)))

all: $(addprefix $(OUT)/,$(GOALS))

$(OUT)/core/%.o: ops/cc/%.cc
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -MMD -MP -c $< -o $@

$(OUT)/%.o: tests/cc/%.cc
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) $(TEST_FLAGS) -MMD -MP -c $< -o $@

$(OUT)/%.o: benchmarks/cc/%.cc
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -MMD -MP -c $< -o $@

$(addprefix $(OUT)/,$(GOALS)): %: %.o $(core)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBRARIES)

.SECONDARY:
-include $(wildcard $(OUT)/*.d $(OUT)/core/*/*.d)
