// SPDX-License-Identifier: Apache-2.0
// From a JobRecord to the JSON that every answer about a job is (schema Job of api/openapi.yaml). Pure functions.
#pragma once

#include <optional>

#include "api/ports.h"
#include "base/json/json.h"
#include "queue/job.h"

namespace caisson::api {

// `progress` is of a job in preparing. The payload is never shown.
Json JobView(const queue::JobRecord& job, const std::optional<PullProgress>& progress);

}  // namespace caisson::api
