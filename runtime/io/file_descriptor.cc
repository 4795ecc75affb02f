#include "runtime/io/file_descriptor.h"

#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "kernels/base/error.h"

namespace annulus::runtime {

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

void ReadAll(const FileDescriptor& file, std::span<std::byte> bytes,
             const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t got = ::read(file.get(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) ThrowSystemError("read '{}': {}", path.string(), ErrnoText(errno));
    if (got == 0) ThrowSystemError("'{}' shrank while it was read", path.string());
    bytes = bytes.subspan(static_cast<size_t>(got));
  }
}

void WriteAll(const FileDescriptor& file, std::span<const std::byte> bytes,
              const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) ThrowSystemError("write '{}': {}", path.string(), ErrnoText(errno));
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

std::string ErrnoText(int error) { return std::generic_category().message(error); }

}  // namespace annulus::runtime
