#include "ops/cc/table/stripe.h"

#include <cstdint>

#include "ops/cc/table/cuckoo_index.h"
#include "ops/cc/table/row_arena.h"

namespace monolith_tf {

Row* Stripe::Find(uint64_t hash, int64_t id) const {
  const uint32_t handle = index_.Find(
      hash, [this, id](uint32_t candidate) { return At(candidate)->id == id; });
  return handle == kNoHandle ? nullptr : At(handle);
}

Row* Stripe::Insert(uint64_t hash, int64_t id) {
  const uint32_t handle = arena_.Allocate();
  if (handle == kNoHandle) return nullptr;
  Row* const row = At(handle);
  row->id = id;
  if (!index_.Insert(hash, handle, RowHash{this})) {
    arena_.Free(handle);
    return nullptr;
  }
  row->last_update = 0;
  row->cut = cut_;
  if (is_tracking_) touched_.Append(id);
  return row;
}

bool Stripe::Remove(uint64_t hash, int64_t id) {
  const uint32_t handle = index_.Find(
      hash, [this, id](uint32_t candidate) { return At(candidate)->id == id; });
  if (handle == kNoHandle) return false;
  const bool is_logged = At(handle)->cut == cut_;
  index_.Erase(hash, handle, RowHash{this});
  arena_.Free(handle);
  if (!is_logged) LogRemoval(id);
  return true;
}

}  // namespace monolith_tf
