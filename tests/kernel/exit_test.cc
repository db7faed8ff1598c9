// SPDX-License-Identifier: Apache-2.0
// How a sandbox's end is told: exit codes, signals, exec failures.
#include <gtest/gtest.h>

#include "tests/kernel/sandbox_host.h"

namespace caisson::sandbox {
namespace {

using Kind = ExitReport::Kind;

TEST(ExitTest, ExitCodeIsThePayloads) {
  SandboxHost& host = SandboxHost::Get();
  for (const int code : {0, 7, 255}) {
    const RunResult result = host.Run(host.Shell(fmt::format("echo hello; exit {}", code)));
    EXPECT_EQ(result.report.kind, Kind::kExited) << result.err;
    EXPECT_EQ(result.report.status, code);
    EXPECT_EQ(result.out, "hello\n") << result.err;
    EXPECT_TRUE(result.executed);
  }
}

}  // namespace
}  // namespace caisson::sandbox
