// The bytes of a file, read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace annulus::runtime {

// Holds a file's bytes: mapped, so that only what is looked at is read and processes share it, or
// read into memory when smaller than kMapBytes. A process may hold some 65,000 mappings
// (vm.max_map_count), fewer than a source tree has files, and each takes a whole page.
//
// A file that shrinks while it is mapped raises SIGBUS at the next look past its new end; replace
// files by renaming, as annulus does, and they keep their bytes for whoever has them open.
class FileBytes {
 public:
  // Throws ConfigError when `path` cannot be opened or is no regular file, SystemError when it can
  // be but a later call fails.
  explicit FileBytes(const std::filesystem::path& path);

  // Valid as long as this object, wherever it was moved.
  std::span<const std::byte> bytes() const { return bytes_; }
  int64_t size() const { return static_cast<int64_t>(bytes_.size()); }

  static constexpr int64_t kMapBytes = 16 * 1024;

 private:
  struct Unmap {
    size_t size;
    void operator()(void* address) const;
  };

  std::unique_ptr<void, Unmap> mapping_;
  std::unique_ptr<std::byte[]> buffer_;
  std::span<const std::byte> bytes_;
};

}  // namespace annulus::runtime
