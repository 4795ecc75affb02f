#!/usr/bin/env bash
# Calibrates this machine for 2 ranks of one thread, then measures training steps of ten configurations
# that the calibration does not know, and prints each beside what it was predicted to take. Not part
# of the tests: it says something on a quiet machine only.
#
#   bash tests/accuracy/predictions.sh [ANNULUS [ROUNDS]]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
annulus=${1:-build/release/annulus}
rounds=${2:-5}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# Name: options. All have 2 layers, 256 tokens to the vocabulary and causal masks unless they say
# otherwise.
configurations=(
  "f32, hidden 256, n 2,048: --model.hidden_size 256 --model.num_attention_heads 4 --model.intermediate_size 704 --train.sequence_length 2048"
  "f32, hidden 256, n 8,192: --model.hidden_size 256 --model.num_attention_heads 4 --model.intermediate_size 704 --train.sequence_length 8192"
  "f32, hidden 512 over 2 kv heads, n 2,048: --model.hidden_size 512 --model.num_attention_heads 8 --model.num_key_value_heads 2 --model.intermediate_size 1536 --train.sequence_length 2048"
  "bf16, hidden 512, n 2,048: --model.dtype bf16 --model.hidden_size 512 --model.num_attention_heads 8 --model.intermediate_size 1536 --train.sequence_length 2048"
  "bf16, hidden 256, n 8,192: --model.dtype bf16 --model.hidden_size 256 --model.num_attention_heads 4 --model.intermediate_size 704 --train.sequence_length 8192"
  "f32, hidden 384, n 4,096, contiguous: --model.hidden_size 384 --model.num_attention_heads 6 --model.intermediate_size 1024 --train.sequence_length 4096 --parallel.partition contiguous"
  "f32, hidden 256, n 4,096, recompute: --model.hidden_size 256 --model.num_attention_heads 4 --model.intermediate_size 704 --train.sequence_length 4096 --memory.recompute block"
  "f32, hidden 256, n 8,192, window 1,024: --model.hidden_size 256 --model.num_attention_heads 4 --model.intermediate_size 704 --train.sequence_length 8192 --attention.mask window --attention.window 1024"
  "f32, hidden 320, heads of 32, n 3,001: --model.hidden_size 320 --model.num_attention_heads 10 --model.intermediate_size 800 --train.sequence_length 3001"
  "f32, hidden 256, heads of 128, vocabulary 4,096, n 4,096: --model.hidden_size 256 --model.num_attention_heads 2 --model.intermediate_size 704 --model.vocab_size 4096 --train.sequence_length 4096"
)

common=(--ranks 2 --device.threads 1 --bench.repetitions "$rounds" --machine "$results/machine.ini")
"$annulus" bench calibrate "${common[@]}" --bench.dtype f32,bf16 --bench.head_dim 32,64,128 >&2
cat "$results/machine.ini" >&2
i=0
for configuration in "${configurations[@]}"; do
  read -ra options <<<"${configuration##*: }"
  "$annulus" bench scaling "${common[@]}" --bench.mode strong "${options[@]}" \
    --json "$results/$((i++)).json" >&2
done

echo "| configuration | measured, ms | from-to | predicted, ms | off by | on one rank, off by |"
echo "|---|---|---|---|---|---|"
i=0
for configuration in "${configurations[@]}"; do
  python3 - "${configuration%%: *}" "$results/$((i++)).json" <<'PYTHON'
import json, sys
name, path = sys.argv[1:]
one, two = json.load(open(path))["rows"]
off = lambda row: f"{100 * (row['predicted_ms'] / row['ms'] - 1):+.1f}%"
print(f"| {name} | {two['ms']:.0f} | {two['ms_min']:.0f}-{two['ms_max']:.0f} "
      f"| {two['predicted_ms']:.0f} | {off(two)} | {off(one)} |")
PYTHON
done
