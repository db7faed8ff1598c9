// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/run_caisson.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "cli/commands.h"

namespace caisson::cli {

std::string Contents(int fd) { return *ReadAt(fd, static_cast<size_t>(lseek(fd, 0, SEEK_END)), 0); }

Outcome RunCaisson(const std::string& host, std::vector<std::string> words, const std::string& input,
                   const std::string& token) {
  const Fd out(memfd_create("out", MFD_CLOEXEC)), err(memfd_create("err", MFD_CLOEXEC));
  Pipe in = *MakePipe();
  EXPECT_TRUE(WriteAll(in.write.get(), input));
  in.write.reset();
  if (input.empty()) in.read = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto parsed = ParseOptions(words, {{"CAISSON_HOST", host}});
  if (const auto* early = std::get_if<EarlyExit>(&parsed)) return {early->status, "", early->text};
  const int status = RunCommandLine(std::get<Options>(parsed), token, {in.read.get(), out.get(), err.get()});
  return {status, Contents(out.get()), Contents(err.get())};
}

}  // namespace caisson::cli
