// Finds accesses of a device's memory, within one kernel, that nothing orders: within a block its
// barriers do, between blocks words that one releases and the other acquires. Atomic operations may
// meet each other.
#pragma once

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/launch.h"
#include "tests/cuda/emulator/memory.h"

namespace annulus::emulator {

// A kernel starts on this host thread: forgets the last one's accesses.
void StartGridRaces(const KernelCall& call);

// Whether p is of the arguments of the running kernel.
bool IsArgument(const void* p);

// A thread of the running block stores a word, or finds what was stored there.
void ReleaseToBlocks(const void* word, int thread);
void AcquireFromBlocks(const void* word, int thread);

void CheckGridAccess(const Allocation& allocation, const MemoryAccess& access);

}  // namespace annulus::emulator
