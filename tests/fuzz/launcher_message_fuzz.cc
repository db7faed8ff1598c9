// SPDX-License-Identifier: Apache-2.0
// The launcher reads these bytes from a service that may be compromised: message, and the strings that travel beside
// it. The first byte says how many descriptors came along; what follows the message is the memory file.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/io.h"
#include "sandbox/protocol.h"

namespace protocol = caisson::sandbox::protocol;

namespace {

void ReadBeside(const caisson::Fd& file, protocol::Request& request) {
  if (auto* launch = std::get_if<protocol::Launch>(&request)) (void)protocol::ReadArguments(file.get(), *launch);
  if (const auto* commit = std::get_if<protocol::CommitLayer>(&request)) {
    const auto paths = protocol::ReadStrings(file.get(), commit->opaque_count);
    for (size_t i = 0; paths && i < paths->size(); ++i) (void)protocol::IsPlainRelativePath((*paths)[i]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t descriptors = data[0] % 4;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  // The message has the size of its verb, so that what follows it is the file.
  const auto header = rest.substr(0, 16);
  size_t length = rest.size();
  if (header.size() == 16) {
    const auto verb = static_cast<uint16_t>(static_cast<uint8_t>(header[6]) | static_cast<uint8_t>(header[7]) << 8);
    const size_t expected = protocol::MessageBytes(static_cast<protocol::Verb>(verb));
    if (expected > 0 && expected < length) length = expected;
  }
  const std::string_view message = rest.substr(0, length);
  (void)protocol::DecodeAnswer(message);
  auto request = protocol::DecodeRequest(message, descriptors);
  if (!request) return 0;
  const auto file = caisson::MakeSealedMemfd("fuzz", rest.substr(length));
  if (file) ReadBeside(*file, *request);
  return 0;
}
