// SPDX-License-Identifier: Apache-2.0
// TreeSummer: the checksum of a layer's directory (TreeSum in image/layer/report.h), entry by entry in any order. The
// unpacking computes it while it writes, the verification while it reads; both say the same of the same tree. Owned by
// one walk or one writer, on its thread.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "image/layer/report.h"
#include "image/worker/entry_attributes.h"

struct XXH3_state_s;  // libxxhash's

namespace caisson::image {

// Contents of one file, in order.
class ContentSum {
 public:
  ContentSum();
  ContentSum(ContentSum&&) noexcept = default;
  ContentSum& operator=(ContentSum&&) noexcept = default;
  void Reset();
  void Update(std::string_view bytes);
  void UpdateZeros(uint64_t count);  // of a hole
  uint64_t size() const { return size_; }
  TreeSum Finish() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
  uint64_t size_ = 0;
};

class TreeSummer {
 public:
  // A file's own part, without its name.
  static TreeSum OfFile(const EntryAttributes& attributes, const ContentSum& contents);

  void AddFile(std::string_view path, const TreeSum& file);
  void AddDirectory(std::string_view path, const EntryAttributes& attributes);
  void AddSymlink(std::string_view path, std::string_view target, const EntryAttributes& attributes);
  void AddFifo(std::string_view path, const EntryAttributes& attributes);
  void AddWhiteout(std::string_view path);  // it has no attributes
  // What no layer can have, or what could not be read.
  void AddStrange(std::string_view path, uint64_t what);
  // A file with several names. Each name is added by AddFile() too; this says that they are one file.
  void AddName(ino_t file, std::string_view path);

  // With all that was added.
  TreeSum Finish();

 private:
  void Add(const TreeSum& term);
  TreeSum sum_;
  std::map<ino_t, std::vector<std::string>> names_;
};

}  // namespace caisson::image
