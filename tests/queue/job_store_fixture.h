// SPDX-License-Identifier: Apache-2.0
// The fixture of the suite that every JobStore must pass (store_contract_test.cc, store_lease_test.cc).
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "queue/store.h"
#include "tests/queue/fake_clock.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::queue {

using caisson::testing::FakeClock;
using caisson::testing::TemporaryDirectory;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct StoreKind {
  std::string name;
  std::function<Result<std::unique_ptr<JobStore>>(const StoreOptions&)> open;
  // Makes a second tenant, which the contract cannot yet, and returns its id.
  std::function<TenantId(const std::string& path, const std::string& name)> add_tenant;
};

inline void PrintTo(const StoreKind& kind, std::ostream* out) { *out << kind.name; }

inline constexpr TenantId kDefault{1};

inline Outcome Ended(Reason reason) {
  Outcome outcome;
  outcome.reason = reason;
  return outcome;
}

inline Outcome Exited(int code) {
  Outcome outcome = Ended(Reason::kExited);
  outcome.exit_code = code;
  return outcome;
}

inline Outcome RegistryDown() {
  Outcome outcome = Ended(Reason::kImageError);
  outcome.transient = true;
  outcome.message = "registry is down";
  return outcome;
}

inline Digest DigestOf(char digit) { return Digest::Parse("sha256:" + std::string(64, digit)).value(); }

class JobStoreTest : public ::testing::TestWithParam<StoreKind> {
 protected:
  JobStoreTest() { Open(); }

  void Open() {
    store_.reset();
    options_.path = directory_.file("store.db");
    options_.clock = &clock_;
    auto store = GetParam().open(options_);
    ASSERT_TRUE(store) << store.error().message;
    store_ = std::move(*store);
  }
  TenantId AddTenant(const std::string& name) {
    store_.reset();
    const TenantId tenant = GetParam().add_tenant(options_.path, name);
    Open();
    return tenant;
  }
  // One job later than all before it.
  JobId Submit(JobSpec spec = {}, TenantId tenant = kDefault) {
    clock_.Advance(milliseconds(1));
    if (spec.image.empty()) spec.image = "image";
    return store_->Submit({tenant, std::move(spec), std::nullopt}).value().id;
  }
  Claim ClaimOne() {
    auto claim = store_->ClaimNext();
    EXPECT_TRUE(claim && *claim);
    return **claim;
  }
  bool NothingToClaim() { return !store_->ClaimNext().value().has_value(); }
  JobRecord Get(const JobId& id, TenantId tenant = kDefault) { return store_->Get(tenant, id).value(); }
  JobState StateOf(const JobId& id) { return Get(id).state; }
  static ClaimRef Ref(const Claim& claim) { return {claim.id, claim.fence}; }
  CancelResult Cancel(const JobId& id) { return store_->Cancel(kDefault, id, std::nullopt).value(); }

  TemporaryDirectory directory_;
  FakeClock clock_;
  StoreOptions options_;
  std::unique_ptr<JobStore> store_;
};

#define EXPECT_CODE(expression, expected)         \
  do {                                            \
    const auto outcome_ = (expression);           \
    ASSERT_FALSE(outcome_.has_value());           \
    EXPECT_EQ(outcome_.error().code, (expected)); \
  } while (false)

}  // namespace caisson::queue
