// An open file that closes itself.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace annulus::runtime {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  // Takes what open() returned; a negative one is no file.
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Fills `bytes` from where the file stands. Throws SystemError with `path` and the reason, also
// when the file ends before.
void ReadAll(const FileDescriptor& file, std::span<std::byte> bytes,
             const std::filesystem::path& path);

// Writes all of `bytes` where the file stands. Throws SystemError with `path` and the reason.
void WriteAll(const FileDescriptor& file, std::span<const std::byte> bytes,
              const std::filesystem::path& path);

// What `error` (an errno) means, without the shared buffer of strerror.
std::string ErrnoText(int error);

}  // namespace annulus::runtime
