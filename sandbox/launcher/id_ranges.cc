// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/id_ranges.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <sstream>

#include "base/check.h"
#include "base/io.h"

namespace caisson::sandbox {
namespace {

constexpr uint32_t kRangesPerBlock = 64;
constexpr size_t kTakeNextBlockBelow = 8;  // free ranges, so that a launch seldom meets the search for a block

Result<void> CheckPrivateDirectory(int directory, const std::string& path) {
  struct stat info {};
  if (::fstat(directory, &info) != 0) return FailErrno(errno, "stat {}", path);
  if (info.st_uid != 0 || (info.st_mode & 077) != 0) {
    return Fail(ErrorCode::kDenied, "{} must belong to root and be closed to others (mode 0700)", path);
  }
  return {};
}

// Does a "Uid:" or "Gid:" or "Groups:" line of a process's status name an id in [first, first + count)?
bool StatusNamesIdIn(const std::string& status, uint32_t first, uint32_t count) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("Uid:", 0) != 0 && line.rfind("Gid:", 0) != 0 && line.rfind("Groups:", 0) != 0) continue;
    std::istringstream ids(line.substr(line.find(':') + 1));
    for (uint64_t id = 0; ids >> id;) {
      if (id >= first && id - first < count) return true;
    }
  }
  return false;
}

// Is a process of an earlier holder still there? A process that cannot be read has ended.
bool SomeProcessHasIdIn(uint32_t first, uint32_t count) {
  DIR* processes = ::opendir("/proc");
  if (processes == nullptr) return true;  // unknown is not free
  bool found = false;
  while (const dirent* entry = ::readdir(processes)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    const Result<Fd> file = OpenAt(::dirfd(processes), std::string(entry->d_name) + "/status", O_RDONLY);
    if (!file) continue;
    const Result<std::string> status = ReadAll(file->get(), 64 << 10);
    if (status && StatusNamesIdIn(*status, first, count)) found = true;
  }
  ::closedir(processes);
  return found;
}

}  // namespace

struct IdRange::Pool {
  IdRanges::Options options;
  Fd directory;
  std::vector<Fd> held_blocks;  // their locks
  uint32_t next_block = 0;      // the first that was not tried yet
  std::deque<uint32_t> free;    // bases; given back at the end, so that a range rests as long as it can
  size_t in_use = 0;

  uint32_t ranges() const { return static_cast<uint32_t>((uint64_t{options.last} - options.first + 1) / kIdsPerRange); }
  uint32_t blocks() const { return (ranges() + kRangesPerBlock - 1) / kRangesPerBlock; }
  bool TakeBlock();
  bool TryBlock(uint32_t block);
};

bool IdRange::Pool::TryBlock(uint32_t block) {
  const uint32_t first_range = block * kRangesPerBlock;
  const uint32_t count = std::min(kRangesPerBlock, ranges() - first_range);
  const uint32_t first_id = options.first + first_range * kIdsPerRange;
  const std::string name = fmt::format("{:08x}", first_id);
  bool fresh = true;
  Fd file(::openat(directory.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file && errno == EEXIST) {
    fresh = false;
    file = Fd(::openat(directory.get(), name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!file || ::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return false;
  if (!fresh && SomeProcessHasIdIn(first_id, count * kIdsPerRange)) return false;
  for (uint32_t i = 0; i < count; ++i) free.push_back(first_id + i * kIdsPerRange);
  held_blocks.push_back(std::move(file));
  return true;
}

bool IdRange::Pool::TakeBlock() {
  while (next_block < blocks()) {
    if (TryBlock(next_block++)) return true;
  }
  return false;
}

IdRange::IdRange(IdRange&& other) noexcept : pool_(std::move(other.pool_)), base_(std::exchange(other.base_, 0)) {}

IdRange& IdRange::operator=(IdRange&& other) noexcept {
  IdRange moved(std::move(other));
  std::swap(pool_, moved.pool_);
  std::swap(base_, moved.base_);
  return *this;
}

IdRange::~IdRange() {
  if (base_ == 0) return;
  pool_->free.push_back(base_);
  --pool_->in_use;
}

Result<IdRanges> IdRanges::Open(const Options& options) {
  CHECK(options.first >= 1U << 20 && options.first % kIdsPerRange == 0 && options.last > options.first);
  auto pool = std::make_shared<IdRange::Pool>();
  pool->options = options;
  if (::mkdir(options.directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return FailErrno(errno, "make {}", options.directory);
  }
  pool->directory = TRY(OpenAt(AT_FDCWD, options.directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  TRY(CheckPrivateDirectory(pool->directory.get(), options.directory));
  if (!pool->TakeBlock()) {
    return Fail(ErrorCode::kExhausted, "every block of ids in {} is taken by another launcher or by processes",
                options.directory);
  }
  IdRanges ranges;
  ranges.pool_ = std::move(pool);
  return ranges;
}

Result<IdRange> IdRanges::Take() {
  IdRange::Pool& pool = *pool_;
  if (pool.free.size() < kTakeNextBlockBelow) (void)pool.TakeBlock();
  if (pool.free.empty()) {
    pool.next_block = 0;  // blocks of other launchers may have become free: look at them again next time
    return Fail(ErrorCode::kExhausted, "no range of ids is free: {} are in use", pool.in_use);
  }
  IdRange range;
  range.base_ = pool.free.front();
  range.pool_ = pool_;
  pool.free.pop_front();
  ++pool.in_use;
  return range;
}

size_t IdRanges::in_use() const { return pool_ ? pool_->in_use : 0; }

}  // namespace caisson::sandbox
