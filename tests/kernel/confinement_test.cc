// SPDX-License-Identifier: Apache-2.0
// What a job is and what it may: identity, capabilities, namespaces, limits, descriptors, refused calls. As its root
// and as an ordinary user of it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <sstream>

#include "base/io.h"
#include "tests/kernel/sandbox_host.h"

namespace caisson::sandbox {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ConfinementTest : public testing::TestWithParam<uint32_t> {
 protected:
  SandboxHost& host_ = SandboxHost::Get();

  SandboxSpec Shell(std::string_view script) const {
    SandboxSpec spec = host_.Shell(script);
    spec.uid = GetParam();
    spec.gid = GetParam();
    return spec;
  }
  std::string Output(std::string_view script) { return host_.Run(Shell(script)).out; }
};

INSTANTIATE_TEST_SUITE_P(Users, ConfinementTest, testing::Values(0U, 1000U, 65534U),
                         [](const auto& user) { return fmt::format("Uid{}", user.param); });

TEST_P(ConfinementTest, HasNoCapabilityAndCannotGetAny) {
  SandboxSpec spec = Shell("");
  spec.argv = {"/bin/cat", "/proc/self/status"};  // not through a shell, which ignores signals
  const std::string status = host_.Run(spec).out;
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
    EXPECT_THAT(status, HasSubstr(fmt::format("{}:\t0000000000000000\n", set)));
  }
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1\n"));
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2\n"));
  EXPECT_THAT(status, HasSubstr("SigBlk:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("SigIgn:\t0000000000000000\n"));
  EXPECT_THAT(status, HasSubstr("Umask:\t0022\n"));
  const uint32_t id = GetParam();
  EXPECT_THAT(status, HasSubstr(fmt::format("Uid:\t{0}\t{0}\t{0}\t{0}\n", id)));
  EXPECT_THAT(status, HasSubstr(fmt::format("Gid:\t{0}\t{0}\t{0}\t{0}\n", id)));
}

TEST_P(ConfinementTest, HasExactlyTheGivenGroups) {
  EXPECT_THAT(Output("grep Groups /proc/self/status"), "Groups:\t \n");
  SandboxSpec spec = Shell("grep Groups /proc/self/status");
  spec.groups = {5, 1234};
  EXPECT_EQ(host_.Run(spec).out, "Groups:\t5 1234 \n");
}

TEST_P(ConfinementTest, IdsAreARangeOfItsOwn) {
  for (const char* file : {"uid_map", "gid_map"}) {
    std::istringstream map(Output(fmt::format("cat /proc/self/{}", file)));
    uint64_t inside = 1, base = 0, size = 0;
    map >> inside >> base >> size;
    EXPECT_EQ(inside, 0U);
    EXPECT_GE(base, 0x70000000U);
    EXPECT_EQ(base % 65536, 0U);
    EXPECT_EQ(size, 65536U);
  }
}

TEST_P(ConfinementTest, HoldsOnlyItsStandardDescriptors) {
  EXPECT_EQ(Output("ls /proc/$$/fd; true"), "0\n1\n2\n");
  EXPECT_EQ(Output("readlink /proc/$$/fd/0; true"), "/dev/null\n");
}

TEST_P(ConfinementTest, CannotLookIntoPidOne) {
  const RunResult result =
      host_.Run(Shell("for f in exe root cwd environ maps mem fd/3; do cat /proc/1/$f; done; ls /proc/1/fd"));
  EXPECT_EQ(result.out, "");
}

TEST_P(ConfinementTest, HasNamespacesOfItsOwn) {
  for (const char* type : {"mnt", "pid", "ipc", "uts", "cgroup", "net", "user"}) {
    char outside[64] = {};
    ASSERT_GT(::readlinkat(host_.environment().root.proc_dir.get(), fmt::format("self/ns/{}", type).c_str(), outside,
                           sizeof outside - 1),
              0);
    const std::string inside = Output(fmt::format("readlink /proc/self/ns/{}", type));
    EXPECT_THAT(inside, HasSubstr(std::string(type) + ":["));
    EXPECT_NE(inside, std::string(outside) + "\n");
  }
  EXPECT_THAT(Output("cat /proc/self/cgroup"), AllOf(HasSubstr("0::/\n"), Not(HasSubstr("caisson"))));
}

TEST_P(ConfinementTest, SeesOnlyItsOwnProcesses) {
  // With hidepid another user does not even see pid 1.
  const std::string processes = Output("cd /proc; ls -d [0-9]* | sort -n | head -1; ls -d [0-9]* | wc -l");
  std::istringstream numbers(processes);
  int first = 0, count = 0;
  numbers >> first >> count;
  EXPECT_LE(first, 2);
  EXPECT_LE(count, 6);
}

TEST_P(ConfinementTest, HasOnlyLoopbackWhichIsUp) {
  EXPECT_EQ(Output("grep -c : /proc/self/net/dev"), "1\n");
  EXPECT_THAT(Output("ip addr show lo"),
              AllOf(HasSubstr("LOOPBACK,UP"), HasSubstr("127.0.0.1/8"), Not(HasSubstr("inet6"))));
  EXPECT_THAT(Output("(echo over loopback | nc -l -p 4000 &) ; until nc 127.0.0.1 4000 </dev/null; do :; done"),
              HasSubstr("over loopback"));
}

TEST_P(ConfinementTest, HostNameIsTheSandboxsId) {
  EXPECT_EQ(Output("hostname; cat /etc/hostname; cat /proc/sys/kernel/domainname"),
            "job-of-a-test\njob-of-a-test\n(none)\n");
}

TEST_P(ConfinementTest, EveryResourceLimitIsSet) {
  const std::string limits = Output("cat /proc/self/limits | tr -s ' '");
  EXPECT_THAT(limits, HasSubstr("Max core file size 1 1 bytes"));
  EXPECT_THAT(limits, HasSubstr("Max processes 65 65 processes"));
  EXPECT_THAT(limits, testing::ContainsRegex("Max open files 1024 [0-9]+ files"));
  EXPECT_THAT(limits, HasSubstr(fmt::format("Max file size {0} {0} bytes", (64 << 20) + 4096)));
  EXPECT_THAT(limits, HasSubstr("Max stack size 8388608 67108864 bytes"));
  EXPECT_THAT(limits, HasSubstr("Max pending signals 1024 1024 signals"));
  EXPECT_THAT(limits, HasSubstr("Max msgqueue size 819200 819200 bytes"));
  EXPECT_THAT(limits, HasSubstr("Max nice priority 0 0"));
  EXPECT_THAT(limits, HasSubstr("Max realtime priority 0 0"));
  if ((host_.environment().cgroups.Unenforceable() & kUnenforcedMemory) != 0) {
    EXPECT_THAT(limits, HasSubstr(fmt::format("Max data size {0} {0} bytes", 64 << 20)));
  }
}

TEST_P(ConfinementTest, SparseGiantsAreRefused) {
  const RunResult result = host_.Run(Shell("dd if=/dev/zero of=/tmp/sparse bs=1 count=1 seek=1000000000000; echo $?"));
  EXPECT_NE(result.out, "0\n");
}

TEST_P(ConfinementTest, CoreLimitCannotBeChanged) {
  EXPECT_EQ(Output("ulimit -c 0; grep core /proc/self/limits | tr -s ' '"), "Max core file size 1 1 bytes \n");
}

TEST_P(ConfinementTest, EnvironmentIsExactlyTheGivenOne) {
  SandboxSpec spec = Shell("");
  spec.argv = {"/bin/env"};
  spec.env = {"PATH=/bin", "A=1", "LD_PRELOAD=/evil.so", "EMPTY=", "WITH=a b\nc=d"};
  EXPECT_EQ(host_.Run(spec).out, "PATH=/bin\nA=1\nLD_PRELOAD=/evil.so\nEMPTY=\nWITH=a b\nc=d\n");
}

TEST_P(ConfinementTest, ArgumentsArriveAsGiven) {
  SandboxSpec spec = Shell("");
  spec.argv = {
      "/bin/sh", "-c", "echo $#; echo \"$0|$1|$2\"; echo ${#3}", "zero", "", "two  words\n", std::string(100'000, 'x')};
  EXPECT_EQ(host_.Run(spec).out, "3\nzero||two  words\n\n100000\n");
}

TEST_P(ConfinementTest, OomScoreIsRaised) { EXPECT_EQ(Output("cat /proc/self/oom_score_adj"), "500\n"); }

TEST_P(ConfinementTest, SchedulingIsNotTheLaunchers) {
  ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, 5), 0);
  // Fields 19 and 41 of stat: nice value and policy.
  EXPECT_EQ(Output("set -- $(cat /proc/self/stat); echo ${19} ${41}"), "0 0\n");
  ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, 0), 0);
}

TEST_P(ConfinementTest, NamespaceAndNotificationLimitsHold) {
  EXPECT_EQ(Output("cd /proc/sys/user; cat max_user_namespaces max_net_namespaces max_mnt_namespaces "
                   "max_inotify_instances max_inotify_watches"),
            "0\n0\n0\n16\n8192\n");
  EXPECT_EQ(Output("echo 5 2>/dev/null >/proc/sys/user/max_user_namespaces || echo refused"), "refused\n");
}

TEST_P(ConfinementTest, PrivilegedCallsAreRefused) {
  const RunResult result = host_.Run(
      Shell("mount -t tmpfs none /tmp; umount /proc; unshare -U true; unshare -n true; chroot / /bin/true; hostname x; "
            "mknod /tmp/null c 1 3; nice -n -5 true; echo survived; hostname"));
  EXPECT_EQ(result.report.kind, ExitReport::Kind::kExited);
  EXPECT_EQ(result.out, "survived\njob-of-a-test\n");
  EXPECT_THAT(result.err, AllOf(HasSubstr("mount"), HasSubstr("umount"), HasSubstr("unshare"), HasSubstr("chroot"),
                                HasSubstr("hostname"), HasSubstr("mknod")));
}

TEST_P(ConfinementTest, MaskedPathsShowNothing) {
  const std::string out = Output(
      "cd /proc; for f in acpi asound bus config.gz dma fs interrupts iomem ioports irq kallsyms kcore key-users keys "
      "kmsg kpagecgroup kpagecount kpageflags latency_stats modules pagetypeinfo sched_debug scsi slabinfo "
      "sysrq-trigger timer_list timer_stats vmallocinfo; do "
      "if [ -d $f ]; then ls -A $f; else head -c 10 $f 2>/dev/null; fi; done");
  EXPECT_EQ(out, "");
}

TEST_P(ConfinementTest, SysctlsAreReadOnly) {
  // Every file that claims to be writable; /proc/sys is one read-only mount, so a few stand for all.
  const std::string out = Output(
      "cd /proc/sys; for f in kernel/core_pattern kernel/modprobe kernel/hostname kernel/shmall kernel/msgmni "
      "fs/mqueue/queues_max net/ipv4/ip_forward vm/overcommit_memory kernel/randomize_va_space; do "
      "[ -e $f ] && (cat $f > $f) 2>/dev/null && echo wrote $f; done; "
      "(echo c > /proc/sysrq-trigger) 2>/dev/null && echo wrote sysrq; true");
  EXPECT_THAT(out, testing::AnyOf("", "wrote sysrq\n"));  // a null device takes it
}

TEST_P(ConfinementTest, HasNoSysfs) {
  EXPECT_EQ(Output("ls -A /sys | wc -l; touch /sys/x 2>/dev/null || echo refused"), "0\nrefused\n");
}

TEST_P(ConfinementTest, DevHasOnlyHarmlessNodes) {
  EXPECT_EQ(Output("cd /dev; ls; ls -A pts | wc -l"),
            "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n0\n");
  EXPECT_EQ(Output("echo x > /dev/null && head -c 4 /dev/zero | wc -c; echo x 2>/dev/null > /dev/full || echo full; "
                   "touch /dev/x 2>/dev/null || echo read-only; chmod 600 /dev/null 2>/dev/null || echo kept; "
                   "head -c 3 /dev/urandom | wc -c; echo y > /dev/shm/y && cat /dev/shm/y; echo out > /dev/stdout"),
            "4\nfull\nread-only\nkept\n3\ny\nout\n");
}

TEST(ConfinementPairTest, TwoSandboxesHaveDisjointIds) {
  SandboxHost& host_ = SandboxHost::Get();
  Result<Sandbox> first = host_.Launch(host_.Shell("cat /proc/self/uid_map"));
  Result<Sandbox> second = host_.Launch(host_.Shell("cat /proc/self/uid_map"));
  ASSERT_TRUE(first.has_value() && second.has_value());
  const std::string one = host_.Finish(*std::move(first)).out;
  const std::string other = host_.Finish(*std::move(second)).out;
  EXPECT_NE(one, other);
  EXPECT_THAT(one, HasSubstr("65536"));
}

}  // namespace
}  // namespace caisson::sandbox
