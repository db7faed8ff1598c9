// SPDX-License-Identifier: Apache-2.0
// What an entry of a layer has besides its name and contents. A plain value.
#pragma once

#include <time.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace caisson::image {

struct EntryAttributes {
  uint32_t mode = 0;  // 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  timespec mtime{};
  std::vector<std::pair<std::string, std::string>> xattrs;  // of a layer user.* only
};

}  // namespace caisson::image
