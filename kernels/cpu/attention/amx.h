// Whether AMX is there and may be used.
#pragma once

namespace annulus::kernels::cpu {

// Whether this CPU multiplies tiles of bf16.
bool HasAmxBf16();

// Whether the kernel lets this process, with the threads it is yet to start, use tiles. It has to
// be asked, since they make the state of a thread larger by 8 KiB.
bool MayUseAmx();

}  // namespace annulus::kernels::cpu
