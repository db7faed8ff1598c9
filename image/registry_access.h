// SPDX-License-Identifier: Apache-2.0
// RegistryAccess: what a client of registries works with: settings, credentials, patience. Plain value; what it points
// to outlives whoever has it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "image/credentials.h"
#include "image/registry_settings.h"

namespace caisson::image {

// How long one request is tried. A test makes it short.
struct RegistryTiming {
  int tries = 5;
  std::chrono::milliseconds first_wait{250};  // before the second try; doubles, with jitter
  // No wait begins that would end later than this after the first try began. A pull for a job holds a slot meanwhile:
  // what takes longer is the queue's to wait for.
  std::chrono::milliseconds patience{10'000};
  std::chrono::milliseconds interactive_patience{std::chrono::minutes(15)};
  std::chrono::seconds stall{30};    // below 1,000 bytes/s for so long: the transfer counts as broken
  std::chrono::seconds connect{10};  // name, connection and TLS
};

struct RegistryAccess {
  const RegistryTable* registries = nullptr;     // null: no settings
  CredentialSource* credentials = nullptr;       // null: anonymous
  std::string tenant;                            // whose credentials
  const std::atomic<bool>* cancelled = nullptr;  // polled during transfers and waits
  bool interactive = false;                      // somebody watches, and no job slot is held

  RegistryTiming timing = {};
  const Clock* clock = &SystemClock();
  // Waits in place of a real clock's time; true when cancelled meanwhile. Empty: waits.
  std::function<bool(std::chrono::milliseconds)> wait = {};
  std::vector<std::string> resolve = {};  // "HOST:PORT:ADDRESS" in place of what the resolver says
};

}  // namespace caisson::image
