// SPDX-License-Identifier: Apache-2.0
// Console: the three standard descriptors of this program (borrowed), as one argument that a test can replace. Safe on
// any thread: each function is one write.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::cli {

struct Console {
  int in = 0;
  int out = 1;
  int err = 2;

  // To standard output, whole.
  Result<void> Print(std::string_view text) const;
  // "caisson: TEXT" and a line feed to standard error; further lines of TEXT are indented. What cannot be written
  // there is lost: there is no other place to say so.
  void Say(std::string_view text) const;
  bool err_is_terminal() const;
};

// Standard input as a payload: nullopt for a terminal or a device (/dev/null), all of it for a pipe, socket or file.
// kTooLarge past 64 MiB, more than any server takes.
Result<std::optional<std::string>> ReadPayload(int fd);

}  // namespace caisson::cli
