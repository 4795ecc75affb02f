#include "runtime/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::ThrowsMessage;

std::string LengthBytes(uint64_t length) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes;
}

std::string FileOf(const std::string& header, const std::string& data) {
  return LengthBytes(header.size()) + header + data;
}

template <class T>
std::vector<T> ValuesOf(const SafetensorsTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

TEST(SafetensorsTest, WritesTheFormatByteForByte) {
  const TempDir dir;
  const float floats[] = {1.0f, -2.0f};
  const uint16_t halves[] = {0x3f80};
  WriteSafetensors(
      dir.At("file"),
      {EntryOf("a", DType::kBF16, {1}, halves), EntryOf("b", DType::kF32, {2, 1}, floats)},
      {{"format", "pt"}});
  // The larger dtype first, though its name comes later; blanks up to 8 bytes.
  std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("a":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(ReadFile(dir.At("file")),
            FileOf(header, std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0\x80\x3f", 10)));
}

TEST(SafetensorsTest, WhatIsWrittenIsRead) {
  const TempDir dir;
  std::vector<float> floats(12);
  std::iota(floats.begin(), floats.end(), 0.5f);
  const std::vector<int32_t> ints = {-1, 2};
  const std::string bytes = "bytes";
  WriteSafetensors(dir.At("file"),
                   {EntryOf("bytes", DType::kByte, {5}, bytes.data()),
                    EntryOf("none", DType::kF32, {0, 7}, nullptr),
                    EntryOf("floats", DType::kF32, {3, 2, 2}, floats.data()),
                    EntryOf("ints \"\u00e4\"", DType::kI32, {2}, ints.data()),
                    EntryOf("scalar", DType::kF32, {}, floats.data())},
                   {});
  const SafetensorsFile file(dir.At("file"));
  ASSERT_THAT(file.tensors(), SizeIs(5));
  EXPECT_THAT(file.metadata(), IsEmpty());
  EXPECT_EQ(file.tensors().front().name, "floats");
  EXPECT_EQ(file.tensors().back().name, "bytes");
  EXPECT_EQ(file.Get("floats").dtype, "F32");
  EXPECT_THAT(file.Get("floats").shape, ElementsAre(3, 2, 2));
  EXPECT_EQ(ValuesOf<float>(file.Get("floats")), floats);
  EXPECT_EQ(ValuesOf<int32_t>(file.Get("ints \"\u00e4\"")), ints);
  EXPECT_EQ(ValuesOf<char>(file.Get("bytes")), std::vector<char>(bytes.begin(), bytes.end()));
  EXPECT_THAT(file.Get("scalar").shape, IsEmpty());
  EXPECT_THAT(ValuesOf<float>(file.Get("scalar")), ElementsAre(0.5f));
  EXPECT_THAT(file.Get("none").shape, ElementsAre(0, 7));
  EXPECT_THAT([&] { file.Get("nothing"); },
              ThrowsMessage<ConfigError>(HasSubstr("has no tensor 'nothing'")));
}

TEST(SafetensorsTest, LargeTensorsAreAskedForInChunks) {
  const TempDir dir;
  const int64_t bytes = 2 * kSafetensorsChunkBytes + 12;
  std::vector<std::pair<int64_t, size_t>> asked;
  const auto fill = [&](int64_t offset, std::span<std::byte> chunk) {
    asked.emplace_back(offset, chunk.size());
    for (size_t i = 0; i < chunk.size(); ++i) {
      chunk[i] = static_cast<std::byte>((static_cast<size_t>(offset) + i) % 251);
    }
  };
  WriteSafetensors(dir.At("file"), {{"large", "F32", {bytes / 4}, fill}}, {});
  EXPECT_THAT(asked, ElementsAre(std::pair(0, kSafetensorsChunkBytes),
                                 std::pair(kSafetensorsChunkBytes, kSafetensorsChunkBytes),
                                 std::pair(2 * kSafetensorsChunkBytes, 12)));
  const SafetensorsFile file(dir.At("file"));
  const auto read = file.Get("large").bytes;
  ASSERT_THAT(read, SizeIs(bytes));
  for (size_t i = 0; i < read.size(); ++i) {
    ASSERT_EQ(read[i], static_cast<std::byte>(i % 251)) << i;
  }
}

TEST(SafetensorsTest, AnErrorWhileWritingLeavesNothing) {
  const TempDir dir;
  const auto fail = [](int64_t, std::span<std::byte>) { throw SystemError("device lost"); };
  EXPECT_THROW(WriteSafetensors(dir.At("file"), {{"a", "F32", {1}, fail}}, {}), SystemError);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  EXPECT_THROW(WriteSafetensors(dir.At("none/file"), {}, {}), SystemError);
}

TEST(SafetensorsTest, RejectsEntriesThatCannotBeWritten) {
  const TempDir dir;
  const float value = 1;
  const SafetensorsEntry good = EntryOf("a", DType::kF32, {1}, &value);
  for (const auto& [name, dtype, shape] :
       {std::tuple("a", "F32", int64_t{1}), std::tuple("__metadata__", "F32", int64_t{1}),
        std::tuple("b", "F31", int64_t{1}), std::tuple("b", "F32", int64_t{-1})}) {
    EXPECT_THROW(WriteSafetensors(dir.At("file"), {good, {name, dtype, {shape}, good.fill}}, {}),
                 InternalError);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(SafetensorsTest, AFileWithoutTensorsIsOne) {
  const TempDir dir;
  WriteSafetensors(dir.At("file"), {}, {{"step", "7"}});
  EXPECT_THAT(SafetensorsFile(dir.At("file")).tensors(), IsEmpty());
  EXPECT_EQ(SafetensorsFile(dir.At("file")).metadata().at("step"), "7");
  EXPECT_THAT(SafetensorsFile(dir.Write("bare", FileOf("{}", ""))).tensors(), IsEmpty());
}

// Other writers pad differently, order freely and add what we do not know.
TEST(SafetensorsTest, ReadsFilesOfOtherWriters) {
  const TempDir dir;
  const SafetensorsFile file(dir.Write(
      "file", FileOf(R"({ "b":{"shape":[1],"dtype":"U8","data_offsets":[0,1],"note":[[]]},)"
                     R"("c":{"dtype":"I64","shape":[0],"data_offsets":[1,1]},)"
                     R"("a":{"dtype":"F16","shape":[1,1],"data_offsets":[1,3]}}   )",
                     "xyz")));
  ASSERT_THAT(file.tensors(), SizeIs(3));
  EXPECT_THAT(ValuesOf<char>(file.Get("b")), ElementsAre('x'));
  EXPECT_THAT(ValuesOf<char>(file.Get("a")), ElementsAre('y', 'z'));
}

struct BadFile {
  std::string content;
  std::string complaint;
};

std::string Header(const std::string& tensors) { return FileOf("{" + tensors + "}", "12345678"); }

std::string OneTensor(const std::string& shape, const std::string& offsets) {
  return Header(R"("a":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}");
}

TEST(SafetensorsTest, RejectsMalformedFiles) {
  const std::string good = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::string deep(200000, '[');
  const std::vector<BadFile> bad_files = {
      {"", "it has 0 bytes, fewer than the length of a header"},
      {"1234567", "it has 7 bytes"},
      {LengthBytes(3) + "{}", "its header has 3 bytes, but the file ends after 2"},
      {LengthBytes(UINT64_MAX) + "{}", "at most 100000000 are allowed"},
      {LengthBytes(100000001) + "{}", "at most 100000000 are allowed"},
      {FileOf("", ""), "does not begin with '{'"},
      {FileOf(" {}", ""), "does not begin with '{'"},
      {FileOf("[]", ""), "does not begin with '{'"},
      {FileOf("{\"a\":", ""), "is not JSON"},
      {FileOf("{\"\xff\":1}", ""), "is not JSON"},
      {FileOf("{} {}", ""), "is not JSON"},
      {FileOf("{\"a\":" + deep + "}", ""), "is not JSON"},
      {Header(good + "," + good), "tensor \"a\" is there twice"},
      {Header(R"("a":1)"), "tensor 'a' has no dtype"},
      {Header(R"("a":{"shape":[2],"data_offsets":[0,8]})"), "tensor 'a' has no dtype"},
      {Header(R"("a":{"dtype":32,"shape":[2],"data_offsets":[0,8]})"), "has no dtype"},
      {Header(R"("a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]})"), "dtype 'F31'"},
      {Header(R"("a":{"dtype":"F32","data_offsets":[0,8]})"), "has no array shape"},
      {Header(R"("a":{"dtype":"F32","shape":[2]})"), "has no array data_offsets"},
      {Header(good + R"(,"__metadata__":[])"), "__metadata__ is no object"},
      {Header(good + R"(,"__metadata__":{"x":1})"), "__metadata__ 'x' is no string"},
      {OneTensor("[-2]", "[0,8]"), "something in shape that is no size"},
      {OneTensor("[2.0]", "[0,8]"), "something in shape that is no size"},
      {OneTensor("[" + deep + std::string(deep.size(), ']') + "]", "[0,8]"), "that is no size"},
      {OneTensor("[18446744073709551615]", "[0,8]"), "something in shape that is no size"},
      {OneTensor("[4294967296,4294967296]", "[0,8]"), "of more than 2^63 bytes"},
      {OneTensor("[4611686018427387905]", "[0,4]"), "of more than 2^63 bytes"},
      {OneTensor("[2]", "[8,0]"), "bad data_offsets [8,0]"},
      {OneTensor("[2]", "[0]"), "bad data_offsets [0]"},
      {OneTensor("[2]", "[0,8,8]"), "bad data_offsets"},
      {OneTensor("[2]", "[0,-8]"), "something in data_offsets that is no size"},
      {OneTensor("[3]", "[0,12]"), "ends at byte 12 of the data, which has 8"},
      {OneTensor("[1]", "[0,8]"), "F32 [1] needs 4 bytes and is given 8"},
      {OneTensor("[1]", "[0,4]"), "its tensors end at byte 4 of the data, which has 8"},
      {OneTensor("[1]", "[4,8]"), "begins at byte 4 of the data, not at 0: a hole"},
      {Header(R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
              R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]})"),
       "tensor 'b' begins at byte 4 of the data, not at 8: an overlap"},
  };
  const TempDir dir;
  for (const BadFile& bad : bad_files) {
    const std::string path = dir.Write("file", bad.content);
    EXPECT_THAT(
        [&] { SafetensorsFile file(path); },
        ThrowsMessage<ConfigError>(AllOf(HasSubstr("'" + path + "' is no valid safetensors file: "),
                                         HasSubstr(bad.complaint))))
        << bad.complaint;
  }
}

// Whatever byte is damaged or wherever a file ends: it is read or rejected, never worse.
TEST(SafetensorsTest, SurvivesDamage) {
  const TempDir dir;
  const std::vector<float> values(4, 1.0f);
  WriteSafetensors(dir.At("good"),
                   {EntryOf("a", DType::kF32, {2, 2}, values.data()),
                    EntryOf("b", DType::kByte, {3}, values.data())},
                   {{"k", "v"}});
  const std::string good = ReadFile(dir.At("good"));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(SafetensorsFile(dir.Write("cut", good.substr(0, size))), ConfigError) << size;
  }
  const size_t data = good.size() - 19;
  for (size_t i = 0; i < data; ++i) {
    for (int flip : {1, 2, 16, 128}) {
      std::string damaged = good;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      try {
        const SafetensorsFile file(dir.Write("damaged", damaged));
        size_t bytes = 0;
        for (const SafetensorsTensor& tensor : file.tensors()) bytes += tensor.bytes.size();
        EXPECT_EQ(bytes, 19U);
      } catch (const ConfigError&) {
      }
    }
  }
}

}  // namespace
}  // namespace annulus::runtime
