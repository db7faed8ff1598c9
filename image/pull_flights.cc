// SPDX-License-Identifier: Apache-2.0
#include "image/pull_flights.h"

#include <chrono>

namespace caisson::image {
namespace {

constexpr std::chrono::milliseconds kLookAtCaller{100};  // whether it has cancelled

bool IsCancelled(const PullContext& context) { return context.cancelled && context.cancelled->load(); }

}  // namespace

Result<ImageRecord> PullFlights::Run(const std::string& key, const PullContext& context, const Work& pull) {
  for (;;) {
    std::unique_lock lock(mutex_);
    std::shared_ptr<Flight>& entry = flights_[key];
    if (!entry) {
      entry = std::make_shared<Flight>();
      const std::shared_ptr<Flight> flight = entry;
      flight->passengers.push_back(&context);
      lock.unlock();
      return Lead(key, flight, context, pull);
    }
    const std::shared_ptr<Flight> flight = entry;
    const auto seat = flight->passengers.insert(flight->passengers.end(), &context);
    if (context.progress && flight->progress.bytes_total > 0) context.progress(flight->progress);
    while (!flight->result && !IsCancelled(context)) landed_.wait_for(lock, kLookAtCaller);
    flight->passengers.erase(seat);
    if (IsCancelled(context)) return Fail(ErrorCode::kCancelled, "cancelled");
    if (*flight->result || flight->result->error().code != ErrorCode::kCancelled) return *flight->result;
  }
}

Result<ImageRecord> PullFlights::Lead(const std::string& key, const std::shared_ptr<Flight>& flight,
                                      const PullContext& context, const Work& pull) {
  PullContext shared = context;
  shared.progress = [this, &flight](const PullProgress& progress) { Tell(*flight, progress); };
  Result<ImageRecord> result = pull(shared);
  const std::lock_guard lock(mutex_);
  flight->result = result;
  flights_.erase(key);
  landed_.notify_all();
  return result;
}

void PullFlights::Tell(Flight& flight, const PullProgress& progress) {
  const std::lock_guard lock(mutex_);
  flight.progress = progress;
  for (const PullContext* passenger : flight.passengers)
    if (passenger->progress) passenger->progress(progress);
}

}  // namespace caisson::image
