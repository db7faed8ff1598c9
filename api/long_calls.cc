// SPDX-License-Identifier: Apache-2.0
#include "api/long_calls.h"

#include <utility>
#include <vector>

namespace caisson::api {

bool LongCalls::Start(queue::TenantId tenant, const std::shared_ptr<CallToken>& token, std::function<void()> work) {
  if (!shares_.Take(tenant)) return false;
  {
    const std::lock_guard lock(mutex_);
    running_.insert(token);
    if (stopping_) token->Cancel();  // the pool takes nothing any more
  }
  const bool accepted = pool_.Run([this, tenant, token, work = std::move(work)]() mutable {
    work();
    work = nullptr;
    Ended(tenant, token);
  });
  if (!accepted) Ended(tenant, token);
  return accepted;
}

void LongCalls::Ended(queue::TenantId tenant, const std::shared_ptr<CallToken>& token) {
  {
    const std::lock_guard lock(mutex_);
    running_.erase(token);
  }
  shares_.Return(tenant);
}

void LongCalls::Stop() {
  std::vector<std::shared_ptr<CallToken>> running;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    running.assign(running_.begin(), running_.end());
  }
  for (const auto& token : running) token->Cancel();
  pool_.Stop();
}

class PendingAnswer::Waiting final : public LaterAnswer {
 public:
  explicit Waiting(std::shared_ptr<PendingAnswer> pending) : pending_(std::move(pending)) {}
  ~Waiting() override {
    if (!taken_) pending_->token_->Cancel();
  }

  void Watch(std::function<void()> notify) override {
    const std::lock_guard lock(pending_->mutex_);
    pending_->notify_ = std::move(notify);
    if (pending_->response_) pending_->notify_();
  }

  std::optional<Response> Take() override {
    const std::lock_guard lock(pending_->mutex_);
    taken_ = pending_->response_.has_value();
    return std::exchange(pending_->response_, std::nullopt);
  }

 private:
  const std::shared_ptr<PendingAnswer> pending_;
  bool taken_ = false;
};

void PendingAnswer::Set(Response response) {
  const std::lock_guard lock(mutex_);
  response_ = std::move(response);
  if (notify_) notify_();
}

Response PendingAnswer::ResponseOf(const std::shared_ptr<PendingAnswer>& pending) {
  Response response;
  response.later = std::make_shared<Waiting>(pending);
  return response;
}

}  // namespace caisson::api
