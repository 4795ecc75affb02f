// Files that are there whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "runtime/io/file_descriptor.h"

namespace annulus::runtime {

// Writes to FILE.tmp and gives it its name in Commit(), after its bytes are on the disk; whoever
// reads FILE sees the old content or the new, also after a crash or a power cut. A file that is not
// committed leaves nothing behind. One writer per FILE at a time.
//
// Every member throws SystemError with the call, the path and the reason.
class AtomicFile {
 public:
  // The directory must exist.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends. Unbuffered: write large pieces.
  void Write(std::span<const std::byte> bytes);
  void Write(std::string_view text) { Write(std::as_bytes(std::span(text))); }

  // Ends the file. At most once; nothing may follow.
  void Commit();

 private:
  [[noreturn]] void Fail(const char* call, int error) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  FileDescriptor file_;
};

// The whole of a small file at once.
void WriteFileAtomically(const std::filesystem::path& path, std::string_view text);

}  // namespace annulus::runtime
