#include "parallel/resident_bytes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

// The table has a word for each page. It takes reads of whole words alone, which streams do not
// promise.
class PageTable {
 public:
  PageTable() : file_(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) Fail();
  }
  ~PageTable() { close(file_); }
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  void Read(int64_t first_page, uint64_t* words, int64_t count) const {
    const auto bytes = static_cast<size_t>(count) * sizeof *words;
    const ssize_t read =
        pread(file_, words, bytes, first_page * static_cast<int64_t>(sizeof *words));
    if (read != static_cast<ssize_t>(bytes)) Fail();
  }

 private:
  [[noreturn]] static void Fail() {
    ThrowSystemError("reading /proc/self/pagemap failed: {}", std::strerror(errno));
  }

  int file_;
};

}  // namespace

int64_t ResidentBytes(const void* address, int64_t bytes) {
  constexpr uint64_t kPresent = uint64_t{1} << 63;
  const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  const auto begin = static_cast<int64_t>(reinterpret_cast<uintptr_t>(address));
  const int64_t end = (begin + bytes + page_bytes - 1) / page_bytes;
  const PageTable table;
  std::array<uint64_t, 512> words{};
  int64_t resident = 0;
  for (int64_t page = begin / page_bytes; page < end;) {
    const int64_t count = std::min(std::ssize(words), end - page);
    table.Read(page, words.data(), count);
    resident += std::count_if(words.begin(), words.begin() + count,
                              [](uint64_t word) { return (word & kPresent) != 0; });
    page += count;
  }
  return resident * page_bytes;
}

}  // namespace annulus::parallel
