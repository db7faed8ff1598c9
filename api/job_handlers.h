// SPDX-License-Identifier: Apache-2.0
// JobHandlers: what /v1/jobs answers: submit, list, show, cancel, logs. Keeps no state but the followers; the store is
// the truth. Owned by Handlers; every function blocks and is safe on any thread.
#pragma once

#include <memory>
#include <string>

#include "api/answers.h"
#include "api/change_feed.h"
#include "api/server.h"

namespace caisson::api {

class JobHandlers {
 public:
  explicit JobHandlers(const ApiDependencies& dependencies)
      : dependencies_(dependencies), changes_(std::make_shared<ChangeFeed>()) {}

  void OnJobChanged(const queue::JobId& id) { changes_->Report(id); }

  Answer Submit(const Request& request);
  Answer List(const Request& request);
  Answer Get(const Request& request, const std::string& id);
  Answer Cancel(const Request& request, const std::string& id);
  Answer Logs(const Request& request, const std::string& id);

 private:
  tl::expected<queue::JobRecord, Problem> Find(const Request& request, const std::string& id);
  Json View(const queue::JobRecord& job) const;

  const ApiDependencies dependencies_;
  const std::shared_ptr<ChangeFeed> changes_;
};

}  // namespace caisson::api
