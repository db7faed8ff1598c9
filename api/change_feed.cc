// SPDX-License-Identifier: Apache-2.0
#include "api/change_feed.h"

#include <utility>

namespace caisson::api {

struct ChangeFeed::Subscription {
  std::shared_ptr<ChangeFeed> feed;
  std::multimap<queue::JobId, Subscription*>::iterator place;
  std::function<void()> notify;

  Subscription(std::shared_ptr<ChangeFeed> owner, std::function<void()> callback)
      : feed(std::move(owner)), notify(std::move(callback)) {}
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  ~Subscription() {
    const std::lock_guard lock(feed->mutex_);
    feed->subscriptions_.erase(place);
  }
};

std::shared_ptr<void> ChangeFeed::Subscribe(const queue::JobId& id, std::function<void()> notify) {
  auto subscription = std::make_shared<Subscription>(shared_from_this(), std::move(notify));
  const std::lock_guard lock(mutex_);
  subscription->place = subscriptions_.emplace(id, subscription.get());
  return subscription;
}

void ChangeFeed::Report(const queue::JobId& id) {
  const std::lock_guard lock(mutex_);  // held while they run: a callback never outlives its handle
  const auto [first, last] = subscriptions_.equal_range(id);
  for (auto it = first; it != last; ++it) it->second->notify();
}

}  // namespace caisson::api
