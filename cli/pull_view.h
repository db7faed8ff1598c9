// SPDX-License-Identifier: Apache-2.0
// PullView: a pull's progress as the API's events tell it, and how it looks: bars on a terminal, lines elsewhere. Plain
// values and pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json/json.h"
#include "cli/terminal.h"

namespace caisson::cli {

struct LayerView {
  std::string digest;
  std::string state;  // as the API names it
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};

struct PullView {
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
  std::vector<LayerView> layers;  // base first
};

PullView ParsePull(const Json& event);

// A bar for each layer, in fewer lines than the terminal has rows: where there are too many, those that have ended are
// left out first, and the last line says how many.
std::vector<std::string> RenderBars(const PullView& pull, const TerminalSize& size);

// Lines for a log: what changed since the last call.
class PlainProgress {
 public:
  std::string Changes(const PullView& pull);

 private:
  std::map<std::string, std::string> told_;  // of each layer
};

}  // namespace caisson::cli
