// SPDX-License-Identifier: Apache-2.0
// The corpus that make_corpus.py wrote into the build directory: hostile and odd layers, configs and manifests, each
// with its expected verdict. Plain values; a corpus that cannot be read is a bug of the build.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "base/json/json.h"

namespace caisson::image {

struct HostileCase {
  std::string name;  // of its file and of its test
  Json expected;     // "verdict", and what belongs to it (tests/hostile/cases.py)
  bool accepted() const { return expected.StringOr("verdict", "") == "accepted"; }
};

// `kind` is "layers", "configs" or "manifests".
std::vector<HostileCase> ReadCases(const std::string& kind);
std::string BytesOf(const std::string& kind, const HostileCase& hostile);

// Adds a failure where `error` is not the refusal that the table says.
void ExpectRefusal(const HostileCase& hostile, const Error& error);

// Names of the parameterised tests.
inline std::string NameOfCase(const auto& info) { return info.param.name; }
inline void PrintTo(const HostileCase& hostile, std::ostream* out) { *out << hostile.name; }

}  // namespace caisson::image
