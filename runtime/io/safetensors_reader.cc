#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/io/safetensors.h"
#include "runtime/io/safetensors_dtype.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;

// What is wrong with a file; the path is added by whoever catches it.
class Malformed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class... Args>
void Require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw Malformed(fmt::format(format, std::forward<Args>(args)...));
}

struct Header {
  std::string_view text;
  std::span<const std::byte> data;
};

Header SplitFile(std::span<const std::byte> file) {
  Require(file.size() >= 8, "it has {} bytes, fewer than the length of a header", file.size());
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= std::to_integer<uint64_t>(file[i]) << (8 * i);
  Require(length <= kSafetensorsMaxHeaderBytes,
          "its header would have {} bytes, at most {} are allowed", length,
          kSafetensorsMaxHeaderBytes);
  Require(length <= file.size() - 8, "its header has {} bytes, but the file ends after {} of them",
          length, file.size() - 8);
  const auto header = file.subspan(8, length);
  return {{reinterpret_cast<const char*>(header.data()), header.size()}, file.subspan(8 + length)};
}

json ParseHeader(std::string_view text) {
  Require(text.starts_with('{'), "its header does not begin with '{{'");
  // Of a name given twice the parser would keep the last.
  std::set<std::string> names;
  const auto see = [&names](int depth, json::parse_event_t event, json& parsed) {
    if (depth == 1 && event == json::parse_event_t::key) {
      Require(names.insert(parsed.get<std::string>()).second, "tensor {} is there twice",
              parsed.dump());
    }
    return true;
  };
  try {
    return json::parse(text, see);
  } catch (const json::exception& error) {
    throw Malformed(fmt::format("its header is not JSON: {}", error.what()));
  }
}

SafetensorsMetadata ParseMetadata(const json& value) {
  Require(value.is_object(), "its __metadata__ is no object");
  SafetensorsMetadata metadata;
  for (const auto& [key, text] : value.items()) {
    Require(text.is_string(), "its __metadata__ '{}' is no string", key);
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// The non-negative integers of an array.
std::vector<int64_t> ParseSizes(const json& info, const char* key, const std::string& name) {
  const auto found = info.find(key);
  Require(found != info.end() && found->is_array(), "tensor '{}' has no array {}", name, key);
  std::vector<int64_t> sizes;
  for (const json& size : *found) {
    Require(size.is_number_unsigned() && size.get<uint64_t>() <= INT64_MAX,
            "tensor '{}' has something in {} that is no size", name, key);
    sizes.push_back(size.get<int64_t>());
  }
  return sizes;
}

SafetensorsTensor ParseTensor(const std::string& name, const json& info,
                              std::span<const std::byte> data) {
  Require(info.is_object() && info.contains("dtype") && info["dtype"].is_string(),
          "tensor '{}' has no dtype", name);
  SafetensorsTensor tensor{
      name, info["dtype"].get<std::string>(), ParseSizes(info, "shape", name), {}};
  const int64_t element_bytes = SafetensorsElementBytes(tensor.dtype);
  Require(element_bytes > 0, "tensor '{}' has dtype '{}', which is not known here", name,
          tensor.dtype);
  const int64_t bytes = SafetensorsTensorBytes(element_bytes, tensor.shape);
  Require(bytes >= 0, "tensor '{}' has a shape [{}] of more than 2^63 bytes", name,
          fmt::join(tensor.shape, ","));

  const std::vector<int64_t> offsets = ParseSizes(info, "data_offsets", name);
  Require(offsets.size() == 2 && offsets[0] <= offsets[1], "tensor '{}' has bad data_offsets [{}]",
          name, fmt::join(offsets, ","));
  const auto begin = static_cast<size_t>(offsets[0]), end = static_cast<size_t>(offsets[1]);
  Require(end <= data.size(), "tensor '{}' ends at byte {} of the data, which has {}", name, end,
          data.size());
  Require(offsets[1] - offsets[0] == bytes, "tensor '{}' of {} [{}] needs {} bytes and is given {}",
          name, tensor.dtype, fmt::join(tensor.shape, ","), bytes, offsets[1] - offsets[0]);
  tensor.bytes = data.subspan(begin, end - begin);
  return tensor;
}

// Sorts tensors by place and requires that they cover `data`, each byte once.
void CheckCover(std::vector<SafetensorsTensor>& tensors, std::span<const std::byte> data) {
  const auto end_of = [](const SafetensorsTensor& tensor) {
    return tensor.bytes.data() + tensor.bytes.size();
  };
  std::sort(tensors.begin(), tensors.end(),
            [&](const SafetensorsTensor& a, const SafetensorsTensor& b) {
              return std::tuple(a.bytes.data(), end_of(a), a.name) <
                     std::tuple(b.bytes.data(), end_of(b), b.name);
            });
  const std::byte* end = data.data();
  for (const SafetensorsTensor& tensor : tensors) {
    Require(tensor.bytes.data() == end, "tensor '{}' begins at byte {} of the data, not at {}: {}",
            tensor.name, tensor.bytes.data() - data.data(), end - data.data(),
            tensor.bytes.data() > end ? "a hole" : "an overlap");
    end = end_of(tensor);
  }
  Require(end == data.data() + data.size(), "its tensors end at byte {} of the data, which has {}",
          end - data.data(), data.size());
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path.string()), file_(path) {
  try {
    const Header header = SplitFile(file_.bytes());
    const json parsed = ParseHeader(header.text);
    for (const auto& [name, info] : parsed.items()) {
      if (name == "__metadata__") {
        metadata_ = ParseMetadata(info);
      } else {
        tensors_.push_back(ParseTensor(name, info, header.data));
      }
    }
    CheckCover(tensors_, header.data);
  } catch (const Malformed& error) {
    ThrowConfigError("'{}' is no valid safetensors file: {}", path_, error.what());
  }
}

const SafetensorsTensor& SafetensorsFile::Get(std::string_view name) const {
  for (const SafetensorsTensor& tensor : tensors_) {
    if (tensor.name == name) return tensor;
  }
  ThrowConfigError("'{}' has no tensor '{}'", path_, name);
}

}  // namespace annulus::runtime
