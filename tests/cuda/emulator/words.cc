// Words of the device's memory by which blocks tell each other how far they are.
#include <atomic>
#include <utility>

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/grid_races.h"
#include "tests/cuda/emulator/instructions.h"

namespace annulus::emulator {

void StoreRelease(int* word, int value, Place at) {
  const InEmulator inside;
  if (!CheckAccess({word, sizeof *word, Access::kWrite, at, -1, true})) return;
  if (block->races != nullptr) ReleaseToBlocks(word, self->index);
  std::atomic_ref<int>(*word).store(value);
  block->Wake(std::exchange(block->word_waiters, {}));
}

// Blocks run one after another: what this one does not find, no other will bring.
void WaitAcquire(const int* word, int value, Place at) {
  const InEmulator inside;
  if (!CheckAccess({word, sizeof *word, Access::kRead, at, -1, true})) return;
  while (std::atomic_ref<int>(*const_cast<int*>(word)).load() != value) {
    block->word_waiters.push_back(self->index);
    block->BlockOn("a wait for a word that no block before this one has stored", at);
  }
  if (block->races != nullptr) AcquireFromBlocks(word, self->index);
}

}  // namespace annulus::emulator
