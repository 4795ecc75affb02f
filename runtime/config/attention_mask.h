// Section [attention] of the options: what it may say, and the mask it means.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/base/mask.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Throws ConfigError for options that contradict each other or do nothing. Then, for a block-sparse
// mask, replaces each 0 that stands for a number of the pattern. Idempotent.
void ResolveAttention(AttentionOptions& attention);

// The mask of one sequence of `length` tokens. Documents start where the data says; until it does
// the sequence is one document. Requires ResolveAttention before.
kernels::Mask MaskOf(const AttentionOptions& attention, int64_t length);

// As in "block-sparse: bigbird in blocks of 64, window 2, global 2, random 3 (seed 0)".
// Requires ResolveAttention before.
std::string DescribeMask(const AttentionOptions& attention);

}  // namespace annulus::runtime
