// SPDX-License-Identifier: Apache-2.0
// The service as the launcher starts, restarts, replaces and ends it. Its program is launcher_stand_in.cc.
#include "sandbox/launcher/service_process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "base/check.h"
#include "base/io.h"

namespace caisson::sandbox {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr ServiceUser kUser{59'998, 59'997};
const Fd host_mounts(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));

class ServiceProcessTest : public ::testing::Test {
 protected:
  ServiceProcessTest() : loop_(*EventLoop::Open()), liveness_(*MakePipe()) {
    CHECK(::setns(host_mounts.get(), CLONE_NEWNS) == 0);
    const char* base = std::getenv("TMPDIR");
    directory_ = std::string(base != nullptr ? base : "/tmp") + "/caisson-service-test-XXXXXX";
    CHECK(::mkdtemp(directory_.data()) != nullptr && ::chmod(directory_.c_str(), 0755) == 0);
    for (const std::string name : {"service", "run"}) {
      CHECK(::mkdir((directory_ + "/" + name).c_str(), 0700) == 0);
      CHECK(::chown((directory_ + "/" + name).c_str(), kUser.uid, kUser.gid) == 0);
    }
    CopyProgram();
  }
  ~ServiceProcessTest() override {
    service_.reset();
    fs::remove_all(directory_);
  }

  std::string program() const { return directory_ + "/program"; }
  void CopyProgram() {  // a new inode each time
    fs::copy_file("/proc/self/exe", program() + ".new", fs::copy_options::overwrite_existing);
    fs::rename(program() + ".new", program());
  }
  ino_t ProgramInode() const {
    struct stat info {};
    CHECK(::stat(program().c_str(), &info) == 0);
    return info.st_ino;
  }

  void Start(const std::string& order, std::chrono::milliseconds end_deadline = std::chrono::minutes(1)) {
    ServiceOptions options;
    options.program_path = program();
    options.program = *OpenAt(AT_FDCWD, program(), O_PATH);
    options.service_dir = directory_ + "/service";
    options.run_dir = directory_ + "/run";
    options.user = kUser;
    options.settings_toml = order;
    options.host_mount_namespace = host_mounts.get();
    options.liveness_read = liveness_.read.get();
    options.liveness_write = liveness_.write.get();
    options.end_deadline = end_deadline;
    service_ = std::make_unique<ServiceProcess>(loop_, std::move(options),
                                                ServiceProcess::Events{
                                                    .on_channel = [this](Fd) { ++started_; },
                                                    .on_gone = [this] { ++gone_; },
                                                    .on_ended = [this] { ended_ = true; },
                                                });
    const Result<void> result = service_->Start();
    ASSERT_TRUE(result) << result.error().message;
  }

  // Runs the loop until the condition holds.
  void RunUntil(std::function<bool()> condition) {
    EventLoop::TimerId limit = loop_.After(std::chrono::minutes(1), [] { CHECK(!"the condition never held"); });
    std::function<void()> check = [&] {
      if (condition()) return loop_.Stop();
      loop_.After(std::chrono::milliseconds(5), check);
    };
    check();
    loop_.Run();
    loop_.Cancel(limit);
  }
  bool Reported() const { return fs::exists(directory_ + "/service/report"); }
  std::string Report() const { return *ReadFile(directory_ + "/service/report", 1 << 20); }

  EventLoop loop_;
  Pipe liveness_;
  std::string directory_;
  std::unique_ptr<ServiceProcess> service_;
  int started_ = 0;
  int gone_ = 0;
  bool ended_ = false;
};

TEST_F(ServiceProcessTest, TheServiceHasNoRightAndSeesOnlyItsOwnDirectories) {
  ::setenv("SECRET_OF_THE_LAUNCHER", "x", 1);
  ::setenv("https_proxy", "http://proxy:3128", 1);
  const Fd left_open(::open("/dev/null", O_RDONLY));  // not close-on-exec: still must not arrive
  Start("wait");
  RunUntil([&] { return Reported(); });
  const std::string report = Report();
  EXPECT_THAT(report, HasSubstr("ids 59998 59997 0\n"));
  EXPECT_THAT(report, HasSubstr("descriptors 5\n"));
  EXPECT_THAT(report, HasSubstr("no_new_privs 1\n"));
  EXPECT_THAT(report, HasSubstr("oom score 0\n"));
  EXPECT_THAT(report, ::testing::AnyOf(HasSubstr("mnt data run \n"), HasSubstr("mnt run data \n")));
  EXPECT_THAT(report, HasSubstr("write -" + std::to_string(EROFS)));
  EXPECT_THAT(report, HasSubstr("run 0\n"));
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_THAT(report, HasSubstr(std::string(set) + ":\t0000000000000000\n"));
  EXPECT_THAT(report, Not(HasSubstr("SECRET_OF_THE_LAUNCHER")));
  EXPECT_THAT(report, HasSubstr("env https_proxy=http://proxy:3128\n"));
  EXPECT_TRUE(fs::exists(directory_ + "/run/file"));  // the host's own directory
}

TEST_F(ServiceProcessTest, AServiceThatDiesIsStartedAgainWithANewChannel) {
  Start("crash");
  RunUntil([&] { return started_ >= 3; });
  EXPECT_GE(gone_, 2);
  EXPECT_FALSE(ended_);
}

TEST_F(ServiceProcessTest, ReplaceEndsItAndStartsTheProgramThatIsThereNow) {
  Start("wait");
  RunUntil([&] { return Reported(); });
  EXPECT_THAT(Report(), HasSubstr("program " + std::to_string(ProgramInode()) + "\n"));
  CopyProgram();
  fs::remove(directory_ + "/service/report");
  service_->Replace();
  RunUntil([&] { return Reported(); });
  EXPECT_THAT(Report(), HasSubstr("program " + std::to_string(ProgramInode()) + "\n"));
  EXPECT_EQ(started_, 2);
}

TEST_F(ServiceProcessTest, ACrashStartsTheSameProgramAgainWhateverIsAtThePath) {
  const std::string old = "program " + std::to_string(ProgramInode()) + "\n";
  Start("wait");
  RunUntil([&] { return Reported(); });
  CopyProgram();
  fs::remove(directory_ + "/service/report");
  // The stand-in ends with status 0 at the first signal; unasked, that counts as a death.
  const std::string children = *ReadFile("/proc/self/task/" + std::to_string(::getpid()) + "/children", 4096);
  ASSERT_EQ(::kill(std::atoi(children.c_str()), SIGTERM), 0);
  RunUntil([&] { return Reported(); });
  EXPECT_THAT(Report(), HasSubstr(old));
}

TEST_F(ServiceProcessTest, EndPassesTheSignalOnAndStartsNoOther) {
  Start("wait");
  RunUntil([&] { return Reported(); });
  service_->End();
  RunUntil([&] { return ended_; });
  EXPECT_EQ(started_, 1);
  EXPECT_EQ(gone_, 1);
}

TEST_F(ServiceProcessTest, ASecondEndPassesASecondSignalOn) {
  Start("twice");
  RunUntil([&] { return Reported(); });
  service_->End();
  RunUntil([&] { return fs::exists(directory_ + "/service/signaled"); });
  EXPECT_FALSE(ended_);
  service_->End();
  RunUntil([&] { return ended_; });
}

TEST_F(ServiceProcessTest, AServiceThatDoesNotEndIsKilledAtItsDeadline) {
  Start("stubborn", std::chrono::milliseconds(200));
  RunUntil([&] { return Reported(); });
  service_->End();
  RunUntil([&] { return ended_; });
}

}  // namespace
}  // namespace caisson::sandbox
