// Small reads of the kernel's text files. What cannot be read is empty.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace annulus::runtime {

std::string WholeFile(const std::filesystem::path& path);
std::string FirstLine(const std::filesystem::path& path);

// Of text of "name : value" lines: the first value of `name`, without blanks around it.
std::string FieldOf(std::string_view text, std::string_view name);

// The whole of `text` as a number of 0 or more.
std::optional<int64_t> WholeNumber(std::string_view text);

}  // namespace annulus::runtime
