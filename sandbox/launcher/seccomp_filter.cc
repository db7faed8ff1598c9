// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/seccomp_filter.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <sstream>

#include "base/check.h"
#include "base/io.h"
#include "sandbox/launcher/seccomp_profile.h"

namespace caisson::sandbox {
namespace {

using Program = std::vector<sock_filter>;

struct ReleaseContext {
  void operator()(void* context) const { ::seccomp_release(context); }
};
using Context = std::unique_ptr<void, ReleaseContext>;

Result<int> NumberOf(const std::string& name) {
  for (const SyscallNumber& newer : NewerSyscallNumbers()) {
    if (name == newer.name) return newer.number;
  }
  const int number = ::seccomp_syscall_resolve_name(name.c_str());
  if (number < 0) return Fail(ErrorCode::kInternal, "seccomp profile: no number is known for {}", name);
  return number;
}

Result<void> AddGroup(void* context, const SyscallGroup& group) {
  const bool allow = group.verdict.action == Verdict::Action::kAllow;
  if (!allow && group.verdict.error == ENOSYS) return {};  // what every call gets that has no rule
  const uint32_t action = allow ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(group.verdict.error);
  std::istringstream names(group.names);
  for (std::string name; names >> name;) {
    const int number = TRY(NumberOf(name));
    const int error = ::seccomp_rule_add_exact(context, action, number, 0);  // libseccomp returns, not sets, the errno
    if (error != 0) return FailErrno(-error, "seccomp rule for {}", name);
  }
  return {};
}

Result<Program> Export(void* context) {
  const Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return FailErrno(errno, "make a memory file");
  if (const int error = ::seccomp_export_bpf(context, file.get()); error != 0) {
    return FailErrno(-error, "compile the seccomp profile");
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return FailErrno(errno, "stat a memory file");
  const std::string bytes = TRY(ReadAt(file.get(), static_cast<size_t>(info.st_size), 0));
  Program program(bytes.size() / sizeof(sock_filter));
  std::memcpy(program.data(), bytes.data(), program.size() * sizeof(sock_filter));
  return program;
}

// Which calls there are at all: a verdict for each number, by libseccomp as a binary tree.
Result<Program> CompileNumbers() {
  const Context context(::seccomp_init(SCMP_ACT_ERRNO(ENOSYS)));
  if (!context) return Fail(ErrorCode::kInternal, "libseccomp could not be started");
  int error = ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (error == 0) error = ::seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (error != 0) return FailErrno(-error, "set up libseccomp");
  for (const SyscallGroup& group : SyscallGroups()) TRY(AddGroup(context.get(), group));
  return Export(context.get());
}

// Classic BPF over struct seccomp_data (linux/seccomp.h).
constexpr uint32_t kArchOffset = offsetof(seccomp_data, arch);
constexpr uint32_t kNumberOffset = offsetof(seccomp_data, nr);
constexpr uint32_t ArgumentOffset(const ArgumentTest& test) {  // little endian: the lower half comes first
  return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8U * test.argument + (test.upper_half ? 4U : 0U);
}
constexpr sock_filter Load(uint32_t offset) { return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset); }
constexpr sock_filter Return(uint32_t value) { return BPF_STMT(BPF_RET | BPF_K, value); }

uint32_t ReturnValue(const Verdict& verdict) {
  return verdict.action == Verdict::Action::kAllow ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | verdict.error;
}

size_t RuleLength(const ArgumentRule& rule) {
  size_t length = 1;
  for (size_t i = 0; i < rule.test_count; ++i) length += rule.tests[i].mask == 0xffffffff ? 2 : 3;
  return length;
}

// Tests one after another; the first that fails jumps past the rule.
void AppendRule(Program& program, const ArgumentRule& rule) {
  const size_t end = program.size() + RuleLength(rule);
  for (size_t i = 0; i < rule.test_count; ++i) {
    const ArgumentTest& test = rule.tests[i];
    program.push_back(Load(ArgumentOffset(test)));
    if (test.mask != 0xffffffff) program.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, test.mask));
    const size_t past = end - (program.size() + 1);
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, test.value, 0, static_cast<uint8_t>(past)));
  }
  program.push_back(Return(ReturnValue(rule.verdict)));
}

// What one call's arguments decide; falls off its end nowhere.
struct ArgumentBlock {
  uint32_t number;
  Program program;
};

Result<std::vector<ArgumentBlock>> CompileArgumentBlocks() {
  std::vector<ArgumentBlock> blocks;
  const auto rules = ArgumentRules();
  for (size_t first = 0; first < rules.size();) {
    Program program;
    size_t next = first;
    for (; next < rules.size() && std::strcmp(rules[next].name, rules[first].name) == 0; ++next) {
      AppendRule(program, rules[next]);
    }
    program.push_back(Return(SECCOMP_RET_ALLOW));
    blocks.push_back({static_cast<uint32_t>(TRY(NumberOf(rules[first].name))), std::move(program)});
    first = next;
  }
  std::sort(blocks.begin(), blocks.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  return blocks;
}

// Where execution goes on for the block of a number, counted from the tree's first instruction; at `none` for others.
struct Targets {
  std::vector<size_t> blocks;
  size_t none;
};

// A binary search of the number, which is in the accumulator, among blocks[low, high).
void AppendSearch(Program& tree, const std::vector<ArgumentBlock>& blocks, const Targets& targets, size_t low,
                  size_t high) {
  if (high - low == 1) {
    tree.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, blocks[low].number, 0, 1));
    tree.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(targets.blocks[low] - tree.size() - 1)));
    tree.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(targets.none - tree.size() - 1)));
    return;
  }
  const size_t middle = low + (high - low) / 2;
  const size_t branch = tree.size();
  tree.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, blocks[middle].number, 0, 0));
  AppendSearch(tree, blocks, targets, low, middle);
  tree[branch].jt = static_cast<uint8_t>(tree.size() - branch - 1);
  AppendSearch(tree, blocks, targets, middle, high);
}

// The calls that the profile allows by their arguments, in front of the program for the numbers: libseccomp has no
// "first rule that fits" and only one form of a 32-bit comparison, hence this small assembler. One program and not
// two, since the kernel runs each once for every number when it is loaded. A test holds both against the profile.
Program Join(const std::vector<ArgumentBlock>& blocks, const Program& numbers) {
  Program program = {Load(kArchOffset), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
                     Return(SECCOMP_RET_KILL_PROCESS), Load(kNumberOffset)};
  const size_t tree_length = 4 * blocks.size() - 1;  // a branch for all leaves but one, three instructions a leaf
  Targets targets;
  size_t at = tree_length;
  for (const ArgumentBlock& block : blocks) {
    targets.blocks.push_back(at);
    at += block.program.size();
  }
  targets.none = at;
  Program tree;
  AppendSearch(tree, blocks, targets, 0, blocks.size());
  CHECK(tree.size() == tree_length && tree_length < 256);  // its branches have 8 bits
  program.insert(program.end(), tree.begin(), tree.end());
  for (const ArgumentBlock& block : blocks) program.insert(program.end(), block.program.begin(), block.program.end());
  program.insert(program.end(), numbers.begin(), numbers.end());
  return program;
}

}  // namespace

Result<SeccompFilter> SeccompFilter::Compile() {
  SeccompFilter filter;
  filter.programs_.push_back(Join(TRY(CompileArgumentBlocks()), TRY(CompileNumbers())));
  return filter;
}

}  // namespace caisson::sandbox
