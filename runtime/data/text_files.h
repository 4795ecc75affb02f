// Which files a text consists of, and which of them are kept from training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace annulus::runtime {

struct TextFile {
  std::filesystem::path path;
  std::string name;  // below the directory or pattern that led to it: the same on every machine
  int64_t bytes = 0;
};

// The files that option data.path names, ordered by name: a file; a directory, searched through all
// levels without following links to directories and without hidden entries; a pattern of glob(7);
// or several of these with commas between. A leading ~/ is the home directory. A path that exists
// is taken as written, commas, asterisks and all. Empty files, and a file that is reached twice
// (by its device and inode), are left out.
// Throws ConfigError if an entry leads to nothing or cannot be read.
std::vector<TextFile> FindTextFiles(const std::string& data_path);

// Indices of the files to hold out, in an order shuffled by a hash of the names: the same on every
// machine and for every seed. Takes files in that order as long as their bytes stay within
// `fraction` of all; if not even one does, the smallest file. None if fraction is 0 or there is
// only one file, and never all. Requires 0 <= fraction < 1.
std::vector<size_t> ChooseHeldOut(std::span<const TextFile> files, double fraction);

}  // namespace annulus::runtime
