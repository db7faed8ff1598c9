// SPDX-License-Identifier: Apache-2.0
#include "image/uploads.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

constexpr uint64_t kLookAtSpaceBytes = 8 << 20;  // written between two looks at the disk
constexpr size_t kMaxFiles = 1000;               // of a tenant: an image has 130 blobs at most, and inodes are shared
constexpr uint64_t kShareOfDisk = 8;             // of a tenant: one eighth

namespace fs = std::filesystem;

uint64_t SizeOf(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

}  // namespace

class Uploads::Upload final : public BlobUpload {
 public:
  // Has taken the one file from the tenant's share already.
  Upload(Uploads& uploads, std::string tenant, const Digest& digest, std::string temporary, Fd file)
      : uploads_(uploads),
        tenant_(std::move(tenant)),
        digest_(digest),
        temporary_(std::move(temporary)),
        file_(std::move(file)) {}
  ~Upload() override {
    if (finished_) return;
    ::unlink(temporary_.c_str());
    uploads_.GiveBack(tenant_, written_, 1);
  }

  Result<void> Write(std::string_view bytes) override {
    const std::string context = "upload of blob " + digest_.ToString();
    if (bytes.size() > kMaxLayerBytes - written_)
      return Fail(ErrorCode::kTooLarge, "{}: it has more than {} bytes", context, kMaxLayerBytes);
    if (written_ / kLookAtSpaceBytes != (written_ + bytes.size()) / kLookAtSpaceBytes)
      TRY_IN(context, uploads_.space_.CheckFloor());
    TRY_IN(context, uploads_.Take(tenant_, bytes.size(), 0));
    written_ += bytes.size();
    TRY_IN(context, WriteAll(file_.get(), bytes));
    hash_.Update(bytes);
    return {};
  }

  // Without an fsync: nothing of the spool outlives the service.
  Result<void> Finish() override {
    const Digest actual = std::move(hash_).Finish();
    if (actual != digest_)
      return Fail(ErrorCode::kCorrupt, "the uploaded bytes are {}, not {}", actual.ToString(), digest_.ToString());
    const std::string path = uploads_.PathOf(tenant_, digest_);
    const bool replaces = ::access(path.c_str(), F_OK) == 0;
    if (::rename(temporary_.c_str(), path.c_str()) != 0) return FailErrno(errno, "keep blob {}", digest_.ToString());
    finished_ = true;
    if (replaces) uploads_.GiveBack(tenant_, written_, 1);
    return {};
  }

 private:
  Uploads& uploads_;
  const std::string tenant_;
  const Digest digest_;
  const std::string temporary_;
  const Fd file_;
  Sha256 hash_;
  uint64_t written_ = 0;
  bool finished_ = false;
};

Result<std::unique_ptr<Uploads>> Uploads::Open(const std::string& directory, const StoreSpace& space,
                                               const Clock& clock) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (error) return FailErrno(error.value(), "empty {}", directory);
  TRY(MakeDirectories(directory, 0700));
  return std::unique_ptr<Uploads>(new Uploads(directory, space, clock));
}

// A tenant's name may be anything; its digest is a file name.
std::string Uploads::DirectoryOf(const std::string& tenant) const { return directory_ + "/" + Sha256Of(tenant).hex(); }

std::string Uploads::PathOf(const std::string& tenant, const Digest& digest) const {
  return DirectoryOf(tenant) + "/" + digest.hex();
}

Result<void> Uploads::Take(const std::string& tenant, uint64_t bytes, size_t files) {
  const uint64_t quota = std::min(kMaxImageBytes, TRY(space_.Now()).total_bytes / kShareOfDisk);
  const std::lock_guard lock(mutex_);
  Spool& spool = spools_[DirectoryOf(tenant)];
  if (spool.files + files > kMaxFiles || spool.bytes + bytes > quota)
    return Fail(
        ErrorCode::kExhausted,
        "{} blobs with {} bytes wait for an import already (at most {}, and {} bytes): import them, or wait until "
        "they expire",
        spool.files, spool.bytes, kMaxFiles, quota);
  spool.bytes += bytes;
  spool.files += files;
  return {};
}

void Uploads::GiveBack(const std::string& tenant, uint64_t bytes, size_t files) {
  const std::lock_guard lock(mutex_);
  Spool& spool = spools_[DirectoryOf(tenant)];
  spool.bytes -= std::min(bytes, spool.bytes);
  spool.files -= std::min(files, spool.files);
}

Result<std::unique_ptr<BlobUpload>> Uploads::Start(const std::string& tenant, const Digest& digest) {
  const std::string context = "upload of blob " + digest.ToString();
  TRY_IN(context, space_.CheckFloor());
  TRY_IN(context, MakeDirectories(DirectoryOf(tenant), 0700));
  TRY_IN(context, Take(tenant, 0, 1));
  const std::string temporary = fmt::format("{}.{}", PathOf(tenant, digest), ++uploads_);
  Result<Fd> file = OpenAt(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) {
    GiveBack(tenant, 0, 1);
    return tl::unexpected(std::move(file).error().Context(context));
  }
  return std::make_unique<Upload>(*this, tenant, digest, temporary, *std::move(file));
}

Result<bool> Uploads::Has(const std::string& tenant, const Digest& digest) const {
  if (::access(PathOf(tenant, digest).c_str(), F_OK) == 0) return true;
  if (errno == ENOENT) return false;
  return FailErrno(errno, "look for blob {}", digest.ToString());
}

Result<Fd> Uploads::OpenBlob(const std::string& tenant, const Digest& digest) const {
  Result<Fd> file = OpenAt(AT_FDCWD, PathOf(tenant, digest), O_RDONLY | O_NOFOLLOW);
  if (!file && file.error().code == ErrorCode::kNotFound)
    return Fail(ErrorCode::kNotFound, "blob {} was not uploaded", digest.ToString());
  return file;
}

void Uploads::Remove(const std::string& tenant, const Digest& digest) {
  const std::string path = PathOf(tenant, digest);
  const uint64_t bytes = SizeOf(path);
  if (::unlink(path.c_str()) == 0) GiveBack(tenant, bytes, 1);
}

Result<void> Uploads::RemoveOld(std::chrono::milliseconds age) {
  const UnixMillis limit = clock_.NowMs() - age.count();
  std::error_code error;
  for (const fs::directory_entry& tenant : fs::directory_iterator(directory_, error)) {
    for (const fs::directory_entry& blob : fs::directory_iterator(tenant.path(), error)) {
      struct stat info {};
      const std::string path = blob.path().string();
      // What is under way gives its own bytes back.
      if (blob.path().has_extension() || ::stat(path.c_str(), &info) != 0 || info.st_mtim.tv_sec * 1000 >= limit)
        continue;
      if (::unlink(path.c_str()) != 0) continue;
      const std::lock_guard lock(mutex_);
      Spool& spool = spools_[tenant.path().string()];
      spool.bytes -= std::min(static_cast<uint64_t>(info.st_size), spool.bytes);
      spool.files -= std::min<size_t>(1, spool.files);
    }
  }
  if (error) return FailErrno(error.value(), "look for old uploads");
  return {};
}

}  // namespace caisson::image
