// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace caisson::sandbox {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

HostReport GoodHost() {
  HostReport report;
  report.kernel = "6.12.1";
  report.isolation = "strict";
  report.memory = report.pids = report.cpu = true;
  report.checks = {{"root", CheckState::kOk, "runs as root", "", true},
                   {"core-pattern", CheckState::kDegraded, "a program", "sysctl", false}};
  return report;
}

TEST(DoctorTest, StrictNeedsEveryLimitAndEveryNeededThing) {
  EXPECT_TRUE(GoodHost().strict_possible());
  for (bool HostReport::*limit : {&HostReport::memory, &HostReport::pids, &HostReport::cpu}) {
    HostReport report = GoodHost();
    report.*limit = false;
    EXPECT_FALSE(report.strict_possible());
  }
  HostReport report = GoodHost();
  report.checks.push_back({"overlay", CheckState::kMissing, "", "", true});
  EXPECT_FALSE(report.strict_possible());
  EXPECT_EQ(report.FirstObstacle()->name, "overlay");
}

TEST(DoctorTest, JsonHasTheAgreedShape) {
  EXPECT_EQ(ToJson(GoodHost()), R"({"kernel":"6.12.1","isolation":"strict","strict_possible":true,)"
                                R"("enforces":{"memory":true,"pids":true,"cpu":true},"checks":[)"
                                R"({"name":"root","state":"ok","detail":"runs as root","fix":""},)"
                                R"({"name":"core-pattern","state":"degraded","detail":"a program","fix":"sysctl"}]})");
}

TEST(DoctorTest, JsonEscapesWhatTheHostSays) {
  HostReport report = GoodHost();
  report.checks = {{"x", CheckState::kOk, "a\"b\\c\n\x01\xff", ""}};
  EXPECT_THAT(ToJson(report), HasSubstr(R"("detail":"a\u0022b\u005cc\u000a\u0001?")"));
}

TEST(DoctorTest, TextShowsTheMendingCommandOnlyWhereSomethingIsAmiss) {
  HostReport report = GoodHost();
  report.checks[0].fix = "never shown";
  EXPECT_THAT(ToText(report), HasSubstr("-> sysctl"));
  EXPECT_THAT(ToText(report), Not(HasSubstr("never shown")));
}

}  // namespace
}  // namespace caisson::sandbox
