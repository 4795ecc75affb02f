// The text of an INI file as a list of entries.
//
//   # comment          ; comment
//   [section]
//   key = value        # a comment needs white space before it
//   key = "a value, # and all"      \" and \\ inside quotes
//
// CRLF line ends and a byte order mark are accepted.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace annulus::runtime {

struct IniEntry {
  std::string section;  // "" before the first [section]
  std::string key;      // "" for the [section] line itself
  std::string value;
  int line = 0;  // from 1

  // "section.key", or "key" at the top level.
  std::string FullKey() const { return section.empty() ? key : section + "." + key; }
};

// Entries in the order of the file. `name` stands for the file in errors.
// Throws ConfigError "name:line: ..." for a line that is neither section, entry nor comment.
std::vector<IniEntry> ParseIni(std::string_view text, std::string_view name);

// Reads and parses a file. Throws ConfigError where it cannot be read as text.
std::vector<IniEntry> ReadIni(const std::string& path);

// The text of an INI file that the option `option` names. Throws ConfigError where it is none.
std::string ReadIniText(const std::string& path, std::string_view option);

// `value` as ParseIni reads it back: in quotes where it needs them.
std::string QuotedIniValue(std::string_view value);

}  // namespace annulus::runtime
