#include "runtime/io/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "kernels/base/error.h"

namespace annulus::runtime {

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)), temporary_(path_.native() + ".tmp") {
  file_ =
      FileDescriptor(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file_.is_open()) Fail("open", errno);
}

AtomicFile::~AtomicFile() {
  if (file_.is_open()) ::unlink(temporary_.c_str());
}

void AtomicFile::Write(std::span<const std::byte> bytes) {
  Check(file_.is_open(), "write to '{}' after its end", path_.string());
  WriteAll(file_, bytes, temporary_);
}

void AtomicFile::Commit() {
  Check(file_.is_open(), "'{}' is ended twice", path_.string());
  if (::fsync(file_.get()) != 0) Fail("fsync", errno);
  // The name goes only to a file whose every byte arrived; until then the destructor removes it.
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) Fail("rename", errno);
  file_ = FileDescriptor();

  // The new name is in the directory, which has to reach the disk as well.
  const auto parent = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  const FileDescriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a directory and say EINVAL; they have nothing to sync.
  if (directory.is_open() && ::fsync(directory.get()) != 0 && errno != EINVAL) {
    Fail("fsync of the directory of", errno);
  }
}

void AtomicFile::Fail(const char* call, int error) const {
  ThrowSystemError("{} '{}': {}", call, path_.string(), ErrnoText(error));
}

void WriteFileAtomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.Write(text);
  file.Commit();
}

}  // namespace annulus::runtime
