// SPDX-License-Identifier: Apache-2.0
// The bodies of GET /v1/jobs/{id}/logs. Each reads the log store at its reader's own pace, so a slow reader costs the
// job nothing and us no memory. Owned by the response that carries it.
#pragma once

#include <functional>
#include <memory>

#include "api/http_types.h"
#include "api/log_query.h"
#include "base/json/json.h"
#include "queue/log_store.h"
#include "queue/store.h"

namespace caisson::api {

// The kept bytes of [range.first, range.end), of one stream or both. Fails when the log turns out shorter.
std::shared_ptr<BodyStream> MakeLogBytes(queue::LogStore& logs, const queue::JobId& id, ByteRange range,
                                         std::optional<queue::LogStream> stream);

struct LogEventSource {
  queue::LogStore* logs = nullptr;
  std::function<Result<queue::JobRecord>()> job;      // as it is now
  std::function<Json(const queue::JobRecord&)> view;  // what `event: end` carries
  // Calls back whenever the job changed, until the handle is destroyed.
  std::function<std::shared_ptr<void>(std::function<void()>)> watch_job;
};
// Events from `query.after` to the log's end; with `query.follow` to the job's end, through all of its attempts.
std::shared_ptr<BodyStream> MakeLogEvents(LogEventSource source, const queue::JobId& id, const LogQuery& query);

}  // namespace caisson::api
