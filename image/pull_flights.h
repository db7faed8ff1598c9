// SPDX-License-Identifier: Apache-2.0
// PullFlights: calls that want the same thing at the same time make one pull; the others wait for its result and see
// its progress. "The same" is the caller's key; what the key leaves out, all of them must have in common. Safe on any
// thread; owned by the ImageStore.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "image/image_store.h"

namespace caisson::image {

class PullFlights {
 public:
  // Runs `pull` with a context whose progress reaches everybody who waits under `key`, or waits for the run that is
  // under way. A run that ended because its own caller cancelled is nobody else's result: another takes over.
  using Work = std::function<Result<ImageRecord>(const PullContext&)>;
  Result<ImageRecord> Run(const std::string& key, const PullContext& context, const Work& pull);

 private:
  struct Flight {
    std::list<const PullContext*> passengers;  // who hears of progress
    PullProgress progress;                     // the newest, for who comes later
    std::optional<Result<ImageRecord>> result;
  };
  void Tell(Flight& flight, const PullProgress& progress);
  Result<ImageRecord> Lead(const std::string& key, const std::shared_ptr<Flight>& flight, const PullContext& context,
                           const Work& pull);

  std::mutex mutex_;  // guards flights and their contents
  std::condition_variable landed_;
  std::map<std::string, std::shared_ptr<Flight>> flights_;
};

}  // namespace caisson::image
