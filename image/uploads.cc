// SPDX-License-Identifier: Apache-2.0
#include "image/uploads.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

constexpr uint64_t kLookAtSpaceBytes = 8 << 20;  // written between two looks at the disk
constexpr std::chrono::hours kKept{24};

namespace fs = std::filesystem;

}  // namespace

class Uploads::Upload final : public BlobUpload {
 public:
  Upload(const StoreSpace& space, const Digest& digest, std::string temporary, std::string path, Fd file)
      : space_(space),
        digest_(digest),
        temporary_(std::move(temporary)),
        path_(std::move(path)),
        file_(std::move(file)) {}
  ~Upload() override {
    if (!finished_) ::unlink(temporary_.c_str());
  }

  Result<void> Write(std::string_view bytes) override {
    if (bytes.size() > kMaxLayerBytes - written_)
      return Fail(ErrorCode::kTooLarge, "blob {} has more than {} bytes", digest_.ToString(), kMaxLayerBytes);
    if (written_ / kLookAtSpaceBytes != (written_ + bytes.size()) / kLookAtSpaceBytes)
      TRY_IN("upload of blob " + digest_.ToString(), space_.CheckFloor());
    TRY_IN("upload of blob " + digest_.ToString(), WriteAll(file_.get(), bytes));
    hash_.Update(bytes);
    written_ += bytes.size();
    return {};
  }

  // Without an fsync: nothing of the spool outlives the service.
  Result<void> Finish() override {
    const Digest actual = std::move(hash_).Finish();
    if (actual != digest_)
      return Fail(ErrorCode::kCorrupt, "the uploaded bytes are {}, not {}", actual.ToString(), digest_.ToString());
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) return FailErrno(errno, "keep blob {}", digest_.ToString());
    finished_ = true;
    return {};
  }

 private:
  const StoreSpace& space_;
  const Digest digest_;
  const std::string temporary_, path_;
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

Result<void> Uploads::CheckQuota(const std::string& tenant) const {
  uint64_t bytes = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(DirectoryOf(tenant), error)) {
    std::error_code gone;  // between the listing and the look
    const uintmax_t size = entry.file_size(gone);
    if (!gone) bytes += size;
  }
  if (bytes < kMaxImageBytes) return {};
  return Fail(ErrorCode::kExhausted,
              "{} bytes of uploaded blobs wait for an import already: import them, or wait until they expire", bytes);
}

Result<std::unique_ptr<BlobUpload>> Uploads::Start(const std::string& tenant, const Digest& digest) {
  const std::string context = "upload of blob " + digest.ToString();
  TRY_IN(context, space_.CheckFloor());
  TRY_IN(context, MakeDirectories(DirectoryOf(tenant), 0700));
  TRY_IN(context, CheckQuota(tenant));
  const std::string path = PathOf(tenant, digest);
  const std::string temporary = fmt::format("{}.{}", path, ++uploads_);
  Fd file = TRY_IN(context, OpenAt(AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return std::make_unique<Upload>(space_, digest, temporary, path, std::move(file));
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

void Uploads::Remove(const std::string& tenant, const Digest& digest) { ::unlink(PathOf(tenant, digest).c_str()); }

// By the file's last write, so that an upload that is under way stays.
Result<void> Uploads::RemoveOld() {
  const UnixMillis limit = clock_.NowMs() - std::chrono::milliseconds(kKept).count();
  std::error_code error;
  for (const fs::directory_entry& tenant : fs::directory_iterator(directory_, error)) {
    for (const fs::directory_entry& blob : fs::directory_iterator(tenant.path(), error)) {
      struct stat info {};
      if (::stat(blob.path().c_str(), &info) == 0 && info.st_mtim.tv_sec * 1000 < limit) ::unlink(blob.path().c_str());
    }
  }
  if (error) return FailErrno(error.value(), "look for old uploads");
  return {};
}

}  // namespace caisson::image
