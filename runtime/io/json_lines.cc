#include "runtime/io/json_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

// Where the last whole line ends.
off_t EndOfLines(const FileDescriptor& file, off_t size, const std::filesystem::path& path) {
  std::string text(static_cast<size_t>(size), '\0');
  ReadAll(file, std::as_writable_bytes(std::span(text)), path);
  return static_cast<off_t>(text.find_last_of('\n') + 1);  // npos + 1 is 0
}

}  // namespace

JsonLines::JsonLines(std::filesystem::path path, Start start) : path_(std::move(path)) {
  const int truncate = start == Start::kEmpty ? O_TRUNC : 0;
  file_ = FileDescriptor(
      ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | truncate, 0666));
  if (!file_.is_open()) ThrowSystemError("open '{}': {}", path_.string(), ErrnoText(errno));
  struct stat status = {};
  if (::fstat(file_.get(), &status) != 0) {
    ThrowSystemError("fstat '{}': {}", path_.string(), ErrnoText(errno));
  }
  if (::ftruncate(file_.get(), EndOfLines(file_, status.st_size, path_)) != 0) {
    ThrowSystemError("ftruncate '{}': {}", path_.string(), ErrnoText(errno));
  }
}

void JsonLines::Append(const nlohmann::ordered_json& object) {
  const std::string line = object.dump() + '\n';
  WriteAll(file_, std::as_bytes(std::span(line)), path_);
}

}  // namespace annulus::runtime
