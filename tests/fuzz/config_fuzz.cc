// SPDX-License-Identifier: Apache-2.0
// The config blob of an image, and its USER looked up in the account files of the same image. The text up to the first
// NUL byte is the config, what follows stands for etc/passwd and etc/group.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "image/image_config.h"
#include "image/layer/limits.h"
#include "image/manifest.h"
#include "image/resolve_user.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::image;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view text = bytes.substr(0, bytes.find('\0'));
  const std::string_view accounts = bytes.substr(std::min(bytes.size(), text.size() + 1));
  const auto config = ParseImageConfig(text);
  if (!config) return 0;
  CHECK(config->config.architecture == HostPlatform().architecture && config->config.os == HostPlatform().os);
  CHECK(config->diff_ids.size() <= kMaxImageLayers);
  for (const auto& words : {config->config.entrypoint, config->config.command, config->config.env})
    for (const auto& word : words) CHECK(word.find('\0') == word.npos);
  if (const auto user = ResolveUser(config->config.user, accounts, accounts))
    CHECK(user->uid <= kMaxStoredId && user->gid <= kMaxStoredId);
  return 0;
}
