// SPDX-License-Identifier: Apache-2.0
// Uploads: the spool of blobs that clients send for imports, one directory a tenant below partial/. A blob is there
// only whole and under its own digest. What nobody imports goes away: all of it at start, by age later. What a tenant
// may keep here is bounded, and none of it takes the last of the disk. Safe on any thread; owned by the ImageStore.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "image/image_store.h"
#include "image/store_space.h"

namespace caisson::image {

class Uploads {
 public:
  // `directory` is made where it is missing, and emptied: an upload does not outlive the service.
  static Result<std::unique_ptr<Uploads>> Open(const std::string& directory, const StoreSpace& space,
                                               const Clock& clock);

  Result<std::unique_ptr<BlobUpload>> Start(const std::string& tenant, const Digest& digest);
  Result<bool> Has(const std::string& tenant, const Digest& digest) const;
  // A readable descriptor; kNotFound says that it was not uploaded.
  Result<Fd> OpenBlob(const std::string& tenant, const Digest& digest) const;
  void Remove(const std::string& tenant, const Digest& digest);
  // Those that were last written longer ago; what is under way stays.
  Result<void> RemoveOld(std::chrono::milliseconds age);

 private:
  class Upload;
  Uploads(std::string directory, const StoreSpace& space, const Clock& clock)
      : directory_(std::move(directory)), space_(space), clock_(clock) {}
  std::string DirectoryOf(const std::string& tenant) const;
  std::string PathOf(const std::string& tenant, const Digest& digest) const;
  // What a tenant has here: blobs that are under way count as far as they are written.
  struct Spool {
    uint64_t bytes = 0;
    size_t files = 0;
  };
  Result<void> Take(const std::string& tenant, uint64_t bytes, size_t files);
  void GiveBack(const std::string& tenant, uint64_t bytes, size_t files);

  const std::string directory_;
  const StoreSpace space_;
  const Clock& clock_;
  std::atomic<uint64_t> uploads_ = 0;  // numbers their temporary files
  std::mutex mutex_;                   // guards what follows, and renames into the spool
  std::map<std::string, Spool> spools_;
};

}  // namespace caisson::image
