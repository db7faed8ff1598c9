// SPDX-License-Identifier: Apache-2.0
// The memory files that travel beside messages: NUL-ended strings, or fixed-size records.
#include <algorithm>
#include <cstring>

#include "base/io.h"
#include "sandbox/protocol.h"
#include "sandbox/protocol_wire.h"
#include "sandbox/validate.h"

namespace caisson::sandbox::protocol {
namespace {

Result<void> AppendStrings(std::string& data, std::span<const std::string> strings) {
  for (const std::string& string : strings) {
    if (string.find('\0') != std::string::npos) return Fail(ErrorCode::kInvalid, "a string has a NUL in it");
    data.append(string).push_back('\0');
  }
  return {};
}

// Cuts `data` at its NULs; kInvalid unless that gives exactly `count` strings.
Result<std::vector<std::string>> Split(std::string_view data, size_t count) {
  std::vector<std::string> strings;
  while (!data.empty() && strings.size() < count) {
    const size_t end = data.find('\0');
    if (end == std::string_view::npos) return Fail(ErrorCode::kInvalid, "the last string has no end");
    strings.emplace_back(data.substr(0, end));
    data.remove_prefix(end + 1);
  }
  if (strings.size() != count || !data.empty())
    return Fail(ErrorCode::kInvalid, "the memory file does not hold {} strings", count);
  return strings;
}

Result<std::string> ReadSealed(int file, size_t limit) {
  const size_t size = TRY(CheckSealedMemfd(file));
  if (size > limit) return Fail(ErrorCode::kTooLarge, "memory file of {} bytes; allowed are {}", size, limit);
  return ReadAt(file, size, 0);
}

template <typename Record>
Result<std::vector<Record>> ReadRecords(int file) {
  const std::string data = TRY(ReadSealed(file, kMaxListBytes));
  if (data.size() % sizeof(Record) != 0) return Fail(ErrorCode::kInvalid, "the memory file ends within a record");
  std::vector<Record> records(data.size() / sizeof(Record));
  if (!data.empty()) std::memcpy(records.data(), data.data(), data.size());
  return records;
}

}  // namespace

Result<Fd> PackArguments(const SandboxSpec& spec) {
  TRY(ValidateSpec(spec));
  std::string data;
  TRY(AppendStrings(data, spec.argv));
  TRY(AppendStrings(data, spec.env));
  return MakeSealedMemfd("caisson-arguments", data);
}

Result<void> ReadArguments(int file, Launch& launch) {
  const std::string data = TRY(ReadSealed(file, kMaxArgumentBytes));
  const size_t count = size_t{launch.argument_count} + launch.environment_count;
  std::vector<std::string> strings = TRY(Split(data, count));
  const auto middle = strings.begin() + launch.argument_count;
  launch.spec.argv.assign(std::make_move_iterator(strings.begin()), std::make_move_iterator(middle));
  launch.spec.env.assign(std::make_move_iterator(middle), std::make_move_iterator(strings.end()));
  return ValidateSpec(launch.spec);
}

Result<Fd> PackStrings(std::span<const std::string> strings) {
  std::string data;
  TRY(AppendStrings(data, strings));
  if (data.size() > kMaxListBytes) return Fail(ErrorCode::kTooLarge, "a list of {} bytes", data.size());
  return MakeSealedMemfd("caisson-list", data);
}

Result<std::vector<std::string>> ReadStrings(int file, uint32_t count) {
  return Split(TRY(ReadSealed(file, kMaxListBytes)), count);
}

bool IsPlainRelativePath(std::string_view path) {
  if (path.empty() || path.size() > kMaxPathBytes || path.find('\0') != std::string_view::npos) return false;
  for (;;) {
    const size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

Result<Fd> PackSandboxes(std::span<const RunningSandbox> sandboxes) {
  std::string data;
  for (const RunningSandbox& sandbox : sandboxes) {
    wire::Sandbox record{};
    record.handle = sandbox.handle.value;
    std::memcpy(record.id, sandbox.id.data(), std::min(sandbox.id.size(), sizeof record.id - 1));
    data.append(reinterpret_cast<const char*>(&record), sizeof record);
  }
  return MakeSealedMemfd("caisson-sandboxes", data);
}

Result<std::vector<RunningSandbox>> ReadSandboxes(int file) {
  std::vector<RunningSandbox> sandboxes;
  for (const auto& record : TRY(ReadRecords<wire::Sandbox>(file)))
    sandboxes.push_back({SandboxHandle{record.handle}, std::string(record.id, ::strnlen(record.id, sizeof record.id))});
  return sandboxes;
}

Result<Fd> PackLayers(std::span<const StoredLayer> layers) {
  std::string data;
  for (const StoredLayer& layer : layers) {
    wire::Layer record{};
    std::copy(layer.name.bytes.begin(), layer.name.bytes.end(), record.name);
    record.bytes = layer.bytes;
    record.in_use = layer.in_use ? 1 : 0;
    data.append(reinterpret_cast<const char*>(&record), sizeof record);
  }
  return MakeSealedMemfd("caisson-layers", data);
}

Result<std::vector<StoredLayer>> ReadLayers(int file) {
  std::vector<StoredLayer> layers;
  for (const auto& record : TRY(ReadRecords<wire::Layer>(file))) {
    StoredLayer layer;
    std::copy(std::begin(record.name), std::end(record.name), layer.name.bytes.begin());
    layer.bytes = record.bytes;
    layer.in_use = record.in_use != 0;
    layers.push_back(layer);
  }
  return layers;
}

}  // namespace caisson::sandbox::protocol
