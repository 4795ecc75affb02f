#include "runtime/data/text_files.h"

#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/data/counter_hash.h"

namespace annulus::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhatIsRight =
    "give a file, a directory, a pattern such as 'src/*.h', or several with commas between";

// False also where the answer is refused or a link leads round in a circle.
bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool IsDirectory(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> Entries(const std::string& data_path) {
  if (Exists(data_path)) return {data_path};
  std::vector<std::string> entries;
  for (size_t begin = 0; begin <= data_path.size();) {
    const size_t comma = std::min(data_path.find(',', begin), data_path.size());
    std::string entry = Trimmed(data_path.substr(begin, comma - begin));
    const char* home = std::getenv("HOME");
    if (entry.starts_with("~/") && home != nullptr) entry.replace(0, 1, home);
    if (!entry.empty()) entries.push_back(std::move(entry));
    begin = comma + 1;
  }
  return entries;
}

std::vector<fs::path> Glob(const std::string& pattern) {
  glob_t found = {};
  const int status = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
  std::vector<fs::path> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status != 0 && status != GLOB_NOMATCH) ThrowSystemError("glob '{}' failed", pattern);
  return paths;
}

// The directory above the first component of `pattern` that has a wildcard.
fs::path FixedPart(const std::string& pattern) {
  const size_t slash = pattern.substr(0, pattern.find_first_of("*?[")).find_last_of('/');
  return slash == std::string::npos ? fs::path(".") : fs::path(pattern.substr(0, slash + 1));
}

class FileFinder {
 public:
  void AddEntry(const std::string& entry) {
    if (Exists(entry)) {
      const fs::path path(entry);
      AddPath(path, IsDirectory(path) ? path : path.parent_path());
      return;
    }
    const bool is_pattern = entry.find_first_of("*?[") != std::string::npos;
    const std::vector<fs::path> paths = is_pattern ? Glob(entry) : std::vector<fs::path>{};
    if (paths.empty()) {
      ThrowConfigError("data.path: {} '{}'; {}",
                       is_pattern ? "no file matches" : "cannot find a file or directory", entry,
                       kWhatIsRight);
    }
    for (const fs::path& path : paths) AddPath(path, FixedPart(entry));
  }

  // What was found, by name, each file once.
  std::vector<TextFile> Take() {
    std::sort(found_.begin(), found_.end(), [](const Found& a, const Found& b) {
      return std::tie(a.file.name, a.file.path) < std::tie(b.file.name, b.file.path);
    });
    std::set<std::pair<dev_t, ino_t>> seen;
    std::vector<TextFile> files;
    for (Found& found : found_) {
      if (seen.insert(found.identity).second) files.push_back(std::move(found.file));
    }
    return files;
  }

 private:
  struct Found {
    TextFile file;
    std::pair<dev_t, ino_t> identity;
  };

  void AddPath(const fs::path& path, const fs::path& base) {
    if (!IsDirectory(path)) {
      AddFile(path, base);
      return;
    }
    fs::path at = path;
    try {
      for (auto entry = fs::recursive_directory_iterator(path);
           entry != fs::recursive_directory_iterator(); ++entry) {
        std::error_code dangling;
        at = entry->path();
        if (at.filename().native().starts_with('.')) {
          entry.disable_recursion_pending();
        } else if (entry->is_regular_file(dangling)) {
          AddFile(at, base);
        }
      }
    } catch (const fs::filesystem_error& error) {
      ThrowConfigError("data.path: cannot read '{}': {}", at.string(), error.code().message());
    }
  }

  void AddFile(const fs::path& path, const fs::path& base) {
    struct stat status = {};
    if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      ThrowConfigError("data.path: '{}' is neither a file nor a directory; {}", path.string(),
                       kWhatIsRight);
    }
    if (status.st_size == 0) return;
    found_.push_back({{path, path.lexically_relative(base).generic_string(), status.st_size},
                      {status.st_dev, status.st_ino}});
  }

  std::vector<Found> found_;
};

}  // namespace

std::vector<TextFile> FindTextFiles(const std::string& data_path) {
  FileFinder finder;
  for (const std::string& entry : Entries(data_path)) finder.AddEntry(entry);
  std::vector<TextFile> files = finder.Take();
  if (files.empty()) {
    ThrowConfigError("data.path: '{}' leads to no file with anything in it; {}", data_path,
                     kWhatIsRight);
  }
  return files;
}

std::vector<size_t> ChooseHeldOut(std::span<const TextFile> files, double fraction) {
  Check(fraction >= 0 && fraction < 1, "a held-out fraction of {}", fraction);
  if (fraction == 0 || files.size() < 2) return {};
  std::vector<size_t> order(files.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Equal names (of two directories) keep the order of `files`.
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return HashText(files[a].name) < HashText(files[b].name);
  });
  double allowed = 0;
  for (const TextFile& file : files) allowed += fraction * static_cast<double>(file.bytes);
  std::vector<size_t> chosen;
  for (size_t i : order) {
    const auto bytes = static_cast<double>(files[i].bytes);
    if (bytes > allowed) continue;
    chosen.push_back(i);
    allowed -= bytes;
  }
  if (chosen.empty()) {
    chosen.push_back(*std::min_element(order.begin(), order.end(), [&](size_t a, size_t b) {
      return files[a].bytes < files[b].bytes;
    }));
  }
  return chosen;
}

}  // namespace annulus::runtime
