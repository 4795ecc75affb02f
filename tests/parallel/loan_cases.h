// The cases of the communicator suite that lend memory.
#pragma once

#include "parallel/communicator.h"

namespace annulus::parallel {

// Every rank reads the blocks of all others, again and again, each time rewritten when all have
// returned them. Nothing is counted.
void LoansAreReadInPlace(Communicator& world);

// Ranks of the world's memory in groups split before and after it was shared.
void SubgroupsShareMemoryToo(Communicator& world);

// Memory can be reserved again, in another size, and nodes may be smaller than they have to be.
void MemoryIsSharedAsSaid(Communicator& world);

}  // namespace annulus::parallel
