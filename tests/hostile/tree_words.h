// SPDX-License-Identifier: Apache-2.0
// What an unpacked layer holds, in the words of the corpus' table (tests/hostile/cases.py): usual modes, owners and
// times are left out, so that a line says what is special. Walked one name at a time: paths may be as long as they
// like.
#pragma once

#include <map>
#include <string>

#include "image/layer/report.h"

namespace caisson::image {

// Path, with %XX for bytes that are not printable ASCII -> words. "" is the root. What the report says of directories
// is among the words.
std::map<std::string, std::string> WordsOfTree(int root, const LayerFacts& facts);

}  // namespace caisson::image
