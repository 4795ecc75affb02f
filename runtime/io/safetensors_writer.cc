#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/io/atomic_file.h"
#include "runtime/io/safetensors.h"
#include "runtime/io/safetensors_dtype.h"

namespace annulus::runtime {
namespace {

int64_t BytesOf(const SafetensorsEntry& entry) {
  const int64_t bytes = SafetensorsTensorBytes(SafetensorsElementBytes(entry.dtype), entry.shape);
  Check(bytes >= 0, "tensor '{}' has no size", entry.name);
  return bytes;
}

void CheckEntries(const std::vector<SafetensorsEntry>& entries) {
  std::set<std::string_view> names;
  for (const SafetensorsEntry& entry : entries) {
    Check(SafetensorsElementBytes(entry.dtype) > 0, "tensor '{}' of dtype '{}'", entry.name,
          entry.dtype);
    Check(entry.name != "__metadata__" && names.insert(entry.name).second,
          "tensor '{}' is named twice or as the metadata", entry.name);
  }
}

std::string HeaderOf(const std::vector<SafetensorsEntry>& entries,
                     const SafetensorsMetadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t begin = 0;
  for (const SafetensorsEntry& entry : entries) {
    const int64_t end = begin + BytesOf(entry);
    header[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  Check(text.size() <= kSafetensorsMaxHeaderBytes, "a safetensors header of {} bytes", text.size());
  return text;
}

void WriteData(const SafetensorsEntry& entry, std::span<std::byte> buffer, AtomicFile& file) {
  const int64_t bytes = BytesOf(entry);
  for (int64_t offset = 0; offset < bytes;) {
    const auto chunk = buffer.first(
        static_cast<size_t>(std::min(bytes - offset, static_cast<int64_t>(buffer.size()))));
    entry.fill(offset, chunk);
    file.Write(chunk);
    offset += static_cast<int64_t>(chunk.size());
  }
}

}  // namespace

std::string_view SafetensorsDType(kernels::DType dtype) {
  switch (dtype) {
    case kernels::DType::kF32:
      return "F32";
    case kernels::DType::kBF16:
      return "BF16";
    case kernels::DType::kI32:
      return "I32";
    case kernels::DType::kByte:
      return "U8";
  }
  return "?";
}

SafetensorsEntry EntryOf(std::string name, kernels::DType dtype, std::vector<int64_t> shape,
                         const void* data) {
  const auto fill = [data](int64_t offset, std::span<std::byte> chunk) {
    std::memcpy(chunk.data(), static_cast<const std::byte*>(data) + offset, chunk.size());
  };
  return {std::move(name), std::string(SafetensorsDType(dtype)), std::move(shape), fill};
}

void WriteSafetensors(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                      const SafetensorsMetadata& metadata) {
  CheckEntries(entries);
  std::sort(entries.begin(), entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              const int64_t a_bytes = SafetensorsElementBytes(a.dtype);
              const int64_t b_bytes = SafetensorsElementBytes(b.dtype);
              return a_bytes != b_bytes ? a_bytes > b_bytes : a.name < b.name;
            });

  const std::string header = HeaderOf(entries, metadata);
  std::array<std::byte, 8> length;
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<std::byte>(header.size() >> (8 * i));
  }
  AtomicFile file(path);
  file.Write(length);
  file.Write(header);
  const auto buffer = std::make_unique<std::byte[]>(kSafetensorsChunkBytes);
  for (const SafetensorsEntry& entry : entries) {
    WriteData(entry, {buffer.get(), kSafetensorsChunkBytes}, file);
  }
  file.Commit();
}

}  // namespace annulus::runtime
