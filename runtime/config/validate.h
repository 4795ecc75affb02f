// Checks of options against each other and against the ranks of a run.
#pragma once

#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Throws ConfigError with what is wrong and what would be right, in numbers, for a configuration
// that no run of `world_size` ranks can follow. Then replaces each 0 that stands for another
// option's value: num_key_value_heads, head_dim, embedding_initializer_range, context_size, the
// ulysses_size of a strategy that has but one, and the blocks of a block-sparse mask.
// A strategy of auto and the ulysses_size of hybrid stay, for plans to choose (strategy_choice.h).
// vocab_size, loss_chunk_tokens and threads may stay 0: data, plan and launch decide them.
// Requires world_size >= 1. Idempotent.
void Validate(RunConfig& config, int world_size);

// The part of it that concerns device.kind and what goes with it: tf32, the transport, and memory
// that ranks share, which is off where tensors are a device's.
void ResolveDevice(RunConfig& config);

}  // namespace annulus::runtime
