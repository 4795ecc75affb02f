#include "runtime/bench/calibration_sizes.h"

namespace annulus::runtime {
namespace {

// The process holds 0.7 GiB then (f32, one head size).
const CalibrationSizes& Small() {
  static const CalibrationSizes sizes{
      .layers = {{64, 176}, {256, 256}, {512, 1408}},
      .tokens = {256, 1024, 4096},
      .widths = {64, 512},
      .attention_tokens = {256, 512, 2048},
      .parameters = {1 << 16, 1 << 20, 1 << 22},
      .links = {.message_bytes = {64, 4096, 65536, 1 << 20, 8 << 20, 32 << 20},
                .reduced_elements = 4 << 20,
                .overlapped_bytes = 16 << 20,
                .fold_tokens = 2048}};
  return sizes;
}

// The process holds 10.4 GiB then (f32, one head size). What is smaller than this takes a device as
// long as its launch.
const CalibrationSizes& Large() {
  static const CalibrationSizes sizes{
      .layers = {{512, 1408}, {2048, 2048}, {4096, 11008}},
      .tokens = {1024, 4096, 8192},
      .widths = {512, 4096},
      .attention_tokens = {1024, 4096, 16384},
      .parameters = {1 << 20, 1 << 23, 1 << 26},
      .links = {.message_bytes = {64, 65536, 1 << 20, 8 << 20, 32 << 20, 128 << 20},
                .reduced_elements = 64 << 20,
                .overlapped_bytes = 64 << 20,
                .fold_tokens = 8192}};
  return sizes;
}

const CalibrationSizes& Least() {
  static const CalibrationSizes sizes{.layers = {{32, 48}},
                                      .tokens = {16, 32},
                                      .widths = {32},
                                      .attention_tokens = {16, 32},
                                      .parameters = {1 << 10, 1 << 12},
                                      .links = {.message_bytes = {64, 4096, 65536},
                                                .reduced_elements = 1 << 12,
                                                .overlapped_bytes = 1 << 16,
                                                .fold_tokens = 32}};
  return sizes;
}

}  // namespace

const CalibrationSizes& SizesOf(CallSizes sizes, DeviceKind device) {
  switch (sizes) {
    case CallSizes::kSmall:
      return Small();
    case CallSizes::kLarge:
      return Large();
    case CallSizes::kLeast:
      return Least();
    case CallSizes::kAuto:
      break;
  }
  return device == DeviceKind::kCpu ? Small() : Large();
}

}  // namespace annulus::runtime
