// Counter-based random numbers: each is a pure function of a stream and an index, so that it does
// not depend on who asks, in which order, or on how many ranks.
#pragma once

#include <cstdint>
#include <string_view>

namespace annulus::runtime {

// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection that passes for random.
constexpr uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// A stream of its own for each pair.
constexpr uint64_t HashCombine(uint64_t a, uint64_t b) { return Mix(Mix(a) ^ b); }

// FNV-1a: stable across machines and runs, unlike std::hash.
constexpr uint64_t HashText(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Uniform in [0, 1), 53 bits.
constexpr double UniformAt(uint64_t stream, uint64_t index) {
  return static_cast<double>(HashCombine(stream, index) >> 11) * 0x1p-53;
}

}  // namespace annulus::runtime
