// The safetensors format: named tensors in one file that is safe to read from strangers.
//
// A file is an 8-byte little-endian header length, a JSON header, and the data. The header maps
// each name to {"dtype", "shape", "data_offsets": [begin, end]}, offsets counted from the start of
// the data; "__metadata__" maps strings to strings. Tensors cover the data without holes or
// overlap. Source: huggingface/safetensors, format of version 0.4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/dtype.h"
#include "runtime/io/file_bytes.h"

namespace annulus::runtime {

using SafetensorsMetadata = std::map<std::string, std::string>;

// "F32", "BF16", "I32" or "U8".
std::string_view SafetensorsDType(kernels::DType dtype);

// A tensor to be written, row-major and little-endian.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as the format names it
  std::vector<int64_t> shape;
  // Fills `chunk` with the tensor's bytes from `offset` on; called for consecutive chunks of at
  // most kSafetensorsChunkBytes, so that a tensor that lies on a device is never whole in host
  // memory.
  std::function<void(int64_t offset, std::span<std::byte> chunk)> fill;
};

inline constexpr int64_t kSafetensorsChunkBytes = 4 << 20;

// An entry whose bytes lie contiguous at `data` until it is written.
SafetensorsEntry EntryOf(std::string name, kernels::DType dtype, std::vector<int64_t> shape,
                         const void* data);

// Writes a file, atomically (atomic_file.h): data ordered by dtype size, largest first, then by
// name; header padded with blanks to a multiple of 8 bytes. Equal entries give equal bytes.
// Requires distinct names. Throws SystemError with call, path and reason.
void WriteSafetensors(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                      const SafetensorsMetadata& metadata);

// A tensor of a file.
struct SafetensorsTensor {
  std::string name;
  std::string dtype;  // as the format names it
  std::vector<int64_t> shape;
  // Row-major, little-endian, valid as long as the file object. Annulus aligns them to their dtype;
  // other writers may not, so copy them rather than cast.
  std::span<const std::byte> bytes;
};

class SafetensorsFile {
 public:
  // Reads and checks the whole header; data is looked at only when used. Throws ConfigError with
  // the path and what is wrong: a file cut short, a header that is too long (over 100,000,000
  // bytes) or not the JSON it should be, a name given twice, an unknown dtype, sizes that do not
  // fit their offsets, tensors that overlap or leave holes.
  explicit SafetensorsFile(const std::filesystem::path& path);

  // By place in the file.
  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }

  // Throws ConfigError if there is none of that name.
  const SafetensorsTensor& Get(std::string_view name) const;

  const SafetensorsMetadata& metadata() const { return metadata_; }

 private:
  std::string path_;
  FileBytes file_;
  SafetensorsMetadata metadata_;
  std::vector<SafetensorsTensor> tensors_;
};

}  // namespace annulus::runtime
