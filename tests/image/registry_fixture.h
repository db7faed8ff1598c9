// SPDX-License-Identifier: Apache-2.0
// RegistryFixture: a scripted registry on 127.0.0.1 that the settings name, and clients of it that remember their waits
// in place of waiting. What the tests of the registry client share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "image/registry_client.h"
#include "tests/image/scripted_registry.h"

namespace caisson::image {

// Credentials by repository; anonymous for all others.
struct FakeCredentials : CredentialSource {
  Result<RegistryCredentials> Find(const std::string& tenant, const std::string& repository) override {
    const std::lock_guard lock(mutex);
    asked.push_back(tenant + " " + repository);
    const auto found = by_repository.find(repository);
    return found == by_repository.end() ? RegistryCredentials{} : found->second;
  }
  std::mutex mutex;
  std::map<std::string, RegistryCredentials> by_repository;
  std::vector<std::string> asked;
};

// Time that passes when told.
struct FakeTime : Clock {
  UnixMillis NowMs() const override { return now.load(); }
  std::chrono::steady_clock::time_point Steady() const override {
    return std::chrono::steady_clock::time_point(std::chrono::milliseconds(now.load()));
  }
  std::atomic<UnixMillis> now = 784111777000;  // Sun, 06 Nov 1994 08:49:37 GMT
};

class RegistryFixture : public testing::Test {
 protected:
  RegistryFixture() {
    registries_[registry_.address()].plain_http = true;
    access_.registries = &registries_;
    access_.credentials = &credentials_;
    access_.tenant = "acme";
    access_.cancelled = &cancelled_;
    access_.clock = &time_;
    access_.wait = [this](std::chrono::milliseconds wait) {
      const std::lock_guard lock(mutex_);
      waits_.push_back(wait);
      time_.now += wait.count();
      return cancelled_.load();
    };
  }

  Reference reference() const { return *ParseReference(registry_.address() + "/team/app:1"); }
  RegistryClient Client() { return RegistryClient(reference(), access_); }
  void LogIn(RegistryCredentials credentials) {
    credentials_.by_repository[reference().repository()] = std::move(credentials);
  }
  Descriptor Blob(const std::string& bytes) { return {"", registry_.PutBlob(bytes), bytes.size()}; }
  // Whatever is asked for gets this answer.
  void AlwaysAnswer(const ScriptedAnswer& answer) {
    registry_.SetScript([answer](const ScriptedRequest&) { return answer; });
  }

  std::atomic<bool> cancelled_ = false;
  FakeTime time_;
  FakeCredentials credentials_;
  RegistryTable registries_;
  RegistryAccess access_;
  std::mutex mutex_;
  std::vector<std::chrono::milliseconds> waits_;
  ScriptedRegistry registry_;  // last: ends before what its scripts use
};

}  // namespace caisson::image
