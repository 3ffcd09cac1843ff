# Objects and programs of tests/cc/run.sh and benchmarks/cc/run.sh, which pass
# CXX, FLAGS, LIBRARIES, OUT (where they go) and GOALS (the programs).

core := $(patsubst ops/cc/table/%.cc,$(OUT)/core/%.o,\
	$(wildcard ops/cc/table/*.cc))

all: $(addprefix $(OUT)/,$(GOALS))

$(OUT)/core/%.o: ops/cc/table/%.cc
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -MMD -MP -c $< -o $@

$(OUT)/%.o: tests/cc/%.cc
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -MMD -MP -c $< -o $@

$(OUT)/%.o: benchmarks/cc/%.cc
	@mkdir -p $(@D)
	$(CXX) $(FLAGS) -MMD -MP -c $< -o $@

$(addprefix $(OUT)/,$(GOALS)): %: %.o $(core)
	$(CXX) $(FLAGS) $^ -o $@ $(LIBRARIES)

.SECONDARY:
-include $(wildcard $(OUT)/*.d $(OUT)/core/*.d)
