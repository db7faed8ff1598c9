// SPDX-License-Identifier: Apache-2.0
#include "tests/image/temporary.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <filesystem>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/worker/beneath.h"

namespace caisson::image {

TemporaryDirectory::TemporaryDirectory() {
  const char* parent = getenv("TMPDIR");
  path_ = std::string(parent ? parent : "/tmp") + "/caisson-image-test-XXXXXX";
  CHECK(::mkdtemp(path_.data()));
}

TemporaryDirectory::~TemporaryDirectory() {
  const Fd directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_TRUE(RemoveContents(directory.get()));
  EXPECT_EQ(::rmdir(path_.c_str()), 0);
}

Fd FileOf(std::string_view bytes) {
  Fd file(::memfd_create("bytes", MFD_CLOEXEC));
  CHECK(WriteAll(file.get(), bytes));
  CHECK(::lseek(file.get(), 0, SEEK_SET) == 0);
  return file;
}

std::string MakeGzip(std::string_view bytes, int level) {
  z_stream stream{};
  CHECK(deflateInit2(&stream, level, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string MakeZstd(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
  CHECK(!ZSTD_isError(size));
  out.resize(size);
  return out;
}

int RunProgram(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const char* output = log.empty() ? "/dev/null" : log.c_str();
  posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return 127;
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

namespace {

std::string DescribeXattrs(const std::string& path) {
  char names[4096];
  const ssize_t size = ::llistxattr(path.c_str(), names, sizeof names);
  std::string text;
  for (ssize_t i = 0; i < size; i += static_cast<ssize_t>(strlen(names + i)) + 1) {
    const std::string name = names + i;
    if (!name.starts_with("user.")) continue;
    char value[4096];
    const ssize_t length = ::lgetxattr(path.c_str(), name.c_str(), value, sizeof value);
    text += " " + name + "=" + std::string(value, static_cast<size_t>(std::max<ssize_t>(length, 0)));
  }
  return text;
}

std::string Describe(const std::string& path, const struct stat& info, const TreeOptions& options) {
  std::string text = fmt::format("{:o} {}:{}", info.st_mode, info.st_uid, info.st_gid);
  if (options.times) text += fmt::format(" {}", info.st_mtim.tv_sec);
  if (S_ISREG(info.st_mode)) {
    const Result<std::string> bytes = ReadFile(path, 1ull << 32);
    text += fmt::format(" {} links {} {}", info.st_size, info.st_nlink,
                        bytes ? Sha256Of(*bytes).hex().substr(0, 16) : bytes.error().message);
  } else if (S_ISLNK(info.st_mode)) {
    text += " -> " + std::filesystem::read_symlink(path).string();
  } else if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {
    text += fmt::format(" device {}:{}", major(info.st_rdev), minor(info.st_rdev));
  }
  return text + DescribeXattrs(path);
}

void Walk(const std::string& root, const std::string& path, const TreeOptions& options,
          std::map<std::string, std::string>& tree) {
  const std::string full = root + (path.empty() ? "" : "/" + path);
  struct stat info {};
  if (::lstat(full.c_str(), &info) != 0) {
    tree[path] = fmt::format("listed, but lstat says {}", strerror(errno));
    return;
  }
  tree[path] = Describe(full, info, options);
  if (!S_ISDIR(info.st_mode)) return;
  for (const auto& entry : std::filesystem::directory_iterator(full))
    Walk(root, (path.empty() ? "" : path + "/") + entry.path().filename().string(), options, tree);
}

}  // namespace

std::map<std::string, std::string> DescribeTree(const std::string& root, const TreeOptions& options) {
  std::map<std::string, std::string> tree;
  Walk(root, "", options, tree);
  return tree;
}

std::string CompareTrees(const std::map<std::string, std::string>& expected,
                         const std::map<std::string, std::string>& actual) {
  std::string text;
  int differences = 0;
  const auto add = [&](const std::string& line) {
    if (++differences <= 10) text += line + "\n";
  };
  for (const auto& [path, description] : expected) {
    const auto found = actual.find(path);
    if (found == actual.end()) {
      add(path + ": missing, expected " + description);
    } else if (found->second != description) {
      add(path + ": " + found->second + ", expected " + description);
    }
  }
  for (const auto& [path, description] : actual)
    if (!expected.contains(path)) add(path + ": not expected: " + description);
  if (differences > 10) text += fmt::format("and {} more\n", differences - 10);
  return text;
}

}  // namespace caisson::image
