#include "runtime/io/file_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "kernels/base/error.h"
#include "runtime/io/file_descriptor.h"

namespace annulus::runtime {
void FileBytes::Unmap::operator()(void* address) const { ::munmap(address, size); }

FileBytes::FileBytes(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe without a writer would wait for one; it does nothing to files.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) ThrowConfigError("cannot open '{}': {}", path.string(), ErrnoText(errno));
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) {
    ThrowSystemError("fstat '{}': {}", path.string(), ErrnoText(errno));
  }
  if (!S_ISREG(status.st_mode)) ThrowConfigError("'{}' is not a regular file", path.string());

  const auto size = static_cast<size_t>(status.st_size);
  if (status.st_size < kMapBytes) {
    buffer_ = std::make_unique<std::byte[]>(size);
    ReadAll(file, {buffer_.get(), size}, path);
    bytes_ = {buffer_.get(), size};
    return;
  }
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) {
    ThrowSystemError("mmap '{}' ({} bytes): {}{}", path.string(), size, ErrnoText(errno),
                     errno == ENOMEM ? "; sysctl vm.max_map_count may be too low" : "");
  }
  mapping_ = {address, Unmap{size}};
  bytes_ = {static_cast<const std::byte*>(address), size};
}

}  // namespace annulus::runtime
