// Page faults as reports.
#pragma once

namespace annulus::emulator {

// A kernel that touches what it may not is given up; a host that touches device memory is told of
// and goes on. Other faults are the program's own. Call once a device is used.
void WatchFaults();

// The calling host thread will run kernels: their faults are handled on a stack of its own.
void WatchFaultsOfThread();

}  // namespace annulus::emulator
