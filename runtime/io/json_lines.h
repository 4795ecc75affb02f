// A log of JSON objects, one per line.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

#include "runtime/io/file_descriptor.h"

namespace annulus::runtime {

// Each line is in the file when Append returns, so that a reader or a crash sees whole lines only.
// A number that JSON cannot hold (NaN, infinity) is written as null.
class JsonLines {
 public:
  enum class Start {
    kEmpty,     // the file is made anew
    kContinue,  // lines are added to those there; a last line torn by a crash is cut off
  };

  // The directory must exist. Throws SystemError with the call, the path and the reason, as Append.
  JsonLines(std::filesystem::path path, Start start);

  // Keys keep their order.
  void Append(const nlohmann::ordered_json& object);

 private:
  std::filesystem::path path_;
  FileDescriptor file_;
};

}  // namespace annulus::runtime
