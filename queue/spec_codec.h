// SPDX-License-Identifier: Apache-2.0
// JobSpec as the JSON text that the store keeps. Not the API's form of a job: this one may only grow, since old rows
// must stay readable; a field that is missing means its default. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "queue/job.h"

namespace caisson::queue {

std::string SpecToJson(const JobSpec& spec);
// kCorrupt for text that SpecToJson never wrote.
Result<JobSpec> SpecFromJson(std::string_view text);

}  // namespace caisson::queue
