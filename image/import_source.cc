// SPDX-License-Identifier: Apache-2.0
#include "image/import_source.h"

#include <unistd.h>

#include <cerrno>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {
constexpr size_t kPieceBytes = 256 << 10;
}  // namespace

std::string ImportRepository(const std::string& tenant) { return "import@" + tenant; }

ImportSource::ImportSource(const Uploads& uploads, const Records& records, std::string tenant, std::string manifest)
    : uploads_(uploads),
      records_(records),
      tenant_(std::move(tenant)),
      manifest_(std::move(manifest)),
      digest_(Sha256Of(manifest_)) {}

Result<ManifestBytes> ImportSource::GetManifest(const Digest& digest) {
  if (digest == digest_) return ManifestBytes{.bytes = manifest_, .content_type = "", .digest = digest};
  if (!TRY(uploads_.Has(tenant_, digest)))
    if (std::optional<std::string> kept = TRY(FindKept(digest)))
      return ManifestBytes{.bytes = *std::move(kept), .content_type = "", .digest = digest};
  const Fd file = TRY(uploads_.OpenBlob(tenant_, digest));
  std::string bytes = TRY_IN("manifest " + digest.ToString(), ReadAll(file.get(), kMaxManifestBytes));
  if (Sha256Of(bytes) != digest) return Fail(ErrorCode::kCorrupt, "uploaded manifest {} is damaged", digest.ToString());
  return ManifestBytes{.bytes = std::move(bytes), .content_type = "", .digest = digest};
}

Result<std::optional<std::string>> ImportSource::FindKept(const Digest& digest) const {
  if (!TRY(records_.WasServed(digest, repository()))) return std::optional<std::string>();
  return records_.FindBlob(digest);
}

// Hashed once more: the bytes that count are those that go to the worker.
Result<void> ImportSource::GetBlob(const Descriptor& blob, const Sink& sink) {
  const Fd file = TRY(uploads_.OpenBlob(tenant_, blob.digest));
  Sha256 hash;
  uint64_t left = blob.size;
  std::string buffer(kPieceBytes, '\0');
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "read uploaded blob {}", blob.digest.ToString());
    if (got == 0) break;
    const std::string_view piece(buffer.data(), static_cast<size_t>(got));
    if (piece.size() > left)
      return Fail(ErrorCode::kCorrupt, "uploaded blob {} has more than the {} bytes that the manifest says",
                  blob.digest.ToString(), blob.size);
    left -= piece.size();
    hash.Update(piece);
    TRY(sink(piece));
  }
  if (left > 0)
    return Fail(ErrorCode::kCorrupt, "uploaded blob {} has {} bytes, the manifest says {}", blob.digest.ToString(),
                blob.size - left, blob.size);
  if (std::move(hash).Finish() != blob.digest)
    return Fail(ErrorCode::kCorrupt, "uploaded blob {} is damaged", blob.digest.ToString());
  return {};
}

}  // namespace caisson::image
