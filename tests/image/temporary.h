// SPDX-License-Identifier: Apache-2.0
// What the tests of image/ share: temporary directories, files of bytes, programs to run, trees as text.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace caisson::image {

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A readable descriptor at the start of `bytes`.
Fd FileOf(std::string_view bytes);

std::string MakeGzip(std::string_view bytes, int level = 6);
std::string MakeZstd(std::string_view bytes);

// Runs a program to its end; 127 where it could not be started. Output goes to `log` ("" for none).
int RunProgram(const std::vector<std::string>& arguments, const std::string& log = "");

// Every path below `root` ("" is the root itself) with what can be seen of it, in one line of text: type, mode, owner,
// times, size, SHA-256 or link, and user.* attributes. Nothing is followed.
struct TreeOptions {
  bool times = true;
};
std::map<std::string, std::string> DescribeTree(const std::string& root, const TreeOptions& options = {});

// The first differences between two trees, "" where there are none.
std::string CompareTrees(const std::map<std::string, std::string>& expected,
                         const std::map<std::string, std::string>& actual);

}  // namespace caisson::image
