// SPDX-License-Identifier: Apache-2.0
#include "cli/local_image.h"

#include <fmt/ranges.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/crypto/crypto.h"
#include "base/digest.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr size_t kMaxDocumentBytes = 4 << 20;  // an index, a manifest or a config
constexpr int kMaxIndexDepth = 3;
constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";

// What one entry of an index.json or a manifest.json is called.
struct Candidate {
  std::vector<std::string> names;  // "1.0", "docker.io/acme/tool:1.0"
  const Json* json = nullptr;
};

// A tag alone names an image too: "1.0" is "acme/tool:1.0".
bool IsCalled(const Candidate& candidate, const std::string& ref) {
  return std::any_of(candidate.names.begin(), candidate.names.end(),
                     [&](const std::string& name) { return name == ref || name.ends_with(":" + ref); });
}

Result<const Candidate*> Choose(const std::vector<Candidate>& candidates, const std::string& ref) {
  std::vector<std::string> known;
  std::vector<const Candidate*> fitting;
  for (const Candidate& candidate : candidates) {
    for (const std::string& name : candidate.names) known.push_back(Printable(name));
    if (ref.empty() || IsCalled(candidate, ref)) fitting.push_back(&candidate);
  }
  const std::string list = known.empty() ? "none has a name" : fmt::format("{}", fmt::join(known, ", "));
  if (candidates.empty()) return Fail(ErrorCode::kInvalid, "there is no image in it");
  if (fitting.empty())
    return Fail(ErrorCode::kInvalid, "no image in it is called {}; there are: {}", Printable(ref), list);
  if (fitting.size() > 1)
    return Fail(ErrorCode::kInvalid, "there are {} images in it: choose one with --ref; there are: {}", fitting.size(),
                list);
  return fitting.front();
}

// The name to import it under: one with a repository, since a tag alone names nothing.
std::string NameOf(const Candidate& candidate) {
  for (const std::string& name : candidate.names)
    if (name.find_first_of(":/") != std::string::npos) return name;
  return {};
}

// ---- OCI image layout
// --------------------------------------------------------------------------------------------------

Result<std::string> BlobFile(const std::string& digest) {
  const Digest parsed = TRY(Digest::Parse(digest));
  return "blobs/sha256/" + parsed.hex();
}

Result<std::string> ReadDocument(const LocalFiles& files, const std::string& digest) {
  std::string text = TRY(ReadSmall(files, TRY(BlobFile(digest)), kMaxDocumentBytes));
  if (Sha256Of(text).ToString() != digest)
    return Fail(ErrorCode::kCorrupt, "the file of {} has other bytes than its name says", Printable(digest));
  return text;
}

Result<LocalBlob> BlobOf(const LocalFiles& files, const Json& descriptor) {
  LocalBlob blob;
  blob.digest = descriptor.StringOr("digest", "");
  blob.file = TRY_IN("a descriptor of the manifest", BlobFile(blob.digest));
  const Result<Fd> file = files.Open(blob.file);
  if (!file) return Fail(ErrorCode::kInvalid, "the layout lacks the blob {}: it is not whole", Printable(blob.digest));
  blob.bytes = SizeOfFile(file->get());
  return blob;
}

void AddOnce(std::vector<LocalBlob>& blobs, LocalBlob blob) {
  const bool known =
      std::any_of(blobs.begin(), blobs.end(), [&](const LocalBlob& other) { return other.digest == blob.digest; });
  if (!known) blobs.push_back(std::move(blob));
}

// Of an index's entries the one for this platform; one without a platform is for any.
Result<std::string> ForPlatform(const Json& index, const std::string& architecture) {
  std::vector<std::string> platforms;
  for (const Json& entry : index.ArrayOrEmpty("manifests")) {
    const Json* platform = entry.Find("platform");
    const std::string os = platform ? platform->StringOr("os", "") : "linux";
    const std::string arch = platform ? platform->StringOr("architecture", "") : architecture;
    if (os == "linux" && arch == architecture) return entry.StringOr("digest", "");
    platforms.push_back(Printable(os + "/" + arch));
  }
  return Fail(ErrorCode::kUnsupported, "it has no image for linux/{}; it has: {}", architecture,
              fmt::join(platforms, ", "));
}

Result<LocalImage> ReadOciImage(const LocalFiles& files, std::string digest, const std::string& architecture) {
  for (int depth = 0; depth < kMaxIndexDepth; ++depth) {
    LocalImage image;
    image.manifest = TRY(ReadDocument(files, digest));
    const Json json = TRY_IN(digest, ParseJson(image.manifest, {.max_bytes = kMaxDocumentBytes}));
    if (json.Find("manifests")) {
      digest = TRY(ForPlatform(json, architecture));
      continue;
    }
    const Json* config = json.Find("config");
    if (!config || !json.Find("layers")) return Fail(ErrorCode::kInvalid, "{} is no image manifest", Printable(digest));
    image.blobs.push_back(TRY(BlobOf(files, *config)));
    for (const Json& layer : json.ArrayOrEmpty("layers")) AddOnce(image.blobs, TRY(BlobOf(files, layer)));
    return image;
  }
  return Fail(ErrorCode::kInvalid, "its indexes lead to indexes, and to no image");
}

Result<LocalImage> FindInLayout(const LocalFiles& files, const std::string& ref, const std::string& architecture) {
  const std::string text = TRY(ReadSmall(files, "index.json", kMaxDocumentBytes));
  const Json index = TRY_IN("index.json", ParseJson(text, {.max_bytes = kMaxDocumentBytes}));
  std::vector<Candidate> candidates;
  for (const Json& entry : index.ArrayOrEmpty("manifests")) {
    Candidate candidate{{}, &entry};
    if (const Json* annotations = entry.Find("annotations")) {
      for (const char* key : {"io.containerd.image.name", "org.opencontainers.image.ref.name"})
        if (std::string name = annotations->StringOr(key, ""); !name.empty())
          candidate.names.push_back(std::move(name));
    }
    candidates.push_back(std::move(candidate));
  }
  // Without names an index of one image for several platforms: not a choice of the user's, but of this host's.
  const bool platforms = ref.empty() && candidates.size() > 1 &&
                         std::all_of(candidates.begin(), candidates.end(), [](const Candidate& candidate) {
                           return candidate.names.empty() && candidate.json->Find("platform");
                         });
  if (platforms) return ReadOciImage(files, TRY(ForPlatform(index, architecture)), architecture);
  const Candidate* chosen = TRY(Choose(candidates, ref));
  LocalImage image = TRY(ReadOciImage(files, chosen->json->StringOr("digest", ""), architecture));
  image.name = NameOf(*chosen);
  return image;
}

// ---- docker save
// -------------------------------------------------------------------------------------------------------

struct Measured {
  std::string digest;
  uint64_t bytes = 0;
  std::string head;  // its first bytes
};

Result<Measured> Measure(const LocalFiles& files, const std::string& name) {
  const Fd file = TRY(files.Open(name));
  Sha256 sum;
  Measured measured;
  std::vector<char> buffer(256 << 10);
  for (;;) {
    const ssize_t got = read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "read {}", Printable(name));
    if (got == 0) break;
    const std::string_view bytes(buffer.data(), static_cast<size_t>(got));
    if (measured.bytes == 0) measured.head = bytes.substr(0, 4);
    sum.Update(bytes);
    measured.bytes += bytes.size();
  }
  measured.digest = std::move(sum).Finish().ToString();
  return measured;
}

std::string LayerType(const std::string& head) {
  if (head.starts_with("\x1f\x8b")) return std::string(kOciLayer) + "+gzip";
  if (head.starts_with("\x28\xb5\x2f\xfd")) return std::string(kOciLayer) + "+zstd";
  return std::string(kOciLayer);
}

Json Descriptor(std::string_view type, const Measured& measured) {
  Json json = Json::MakeObject();
  json.Set("mediaType", type);
  json.Set("digest", measured.digest);
  json.Set("size", measured.bytes);
  return json;
}

Result<LocalImage> ReadSavedImage(const LocalFiles& files, const Json& entry) {
  const std::string config_file = NormalName(entry.StringOr("Config", ""));
  const Measured config = TRY_IN("the image's configuration", Measure(files, config_file));
  LocalImage image;
  image.blobs.push_back({config.digest, config_file, config.bytes});
  Json::Array layers;
  for (const Json& layer : entry.ArrayOrEmpty("Layers")) {
    const std::string file = NormalName(layer.AsString() ? *layer.AsString() : "");
    const Measured measured = TRY_IN("a layer of the image", Measure(files, file));
    layers.push_back(Descriptor(LayerType(measured.head), measured));
    AddOnce(image.blobs, {measured.digest, file, measured.bytes});
  }
  Json manifest = Json::MakeObject();
  manifest.Set("schemaVersion", 2);
  manifest.Set("mediaType", kOciManifest);
  manifest.Set("config", Descriptor(kOciConfig, config));
  manifest.Set("layers", std::move(layers));
  image.manifest = manifest.Dump();
  return image;
}

Result<LocalImage> FindInSave(const LocalFiles& files, const std::string& ref) {
  const std::string text = TRY(ReadSmall(files, "manifest.json", kMaxDocumentBytes));
  const Json list = TRY_IN("manifest.json", ParseJson(text, {.max_bytes = kMaxDocumentBytes}));
  if (!list.AsArray()) return Fail(ErrorCode::kInvalid, "manifest.json is no list of images");
  std::vector<Candidate> candidates;
  for (const Json& entry : *list.AsArray()) {
    Candidate candidate{{}, &entry};
    for (const Json& tag : entry.ArrayOrEmpty("RepoTags"))
      if (tag.AsString()) candidate.names.push_back(*tag.AsString());
    candidates.push_back(std::move(candidate));
  }
  const Candidate* chosen = TRY(Choose(candidates, ref));
  LocalImage image = TRY(ReadSavedImage(files, *chosen->json));
  image.name = NameOf(*chosen);
  // Of several tags of one image the one that was asked for.
  for (const std::string& name : chosen->names)
    if (!ref.empty() && IsCalled({{name}, nullptr}, ref)) image.name = name;
  return image;
}

}  // namespace

Result<LocalImage> FindLocalImage(const LocalFiles& files, const std::string& ref, const std::string& architecture) {
  // New versions of docker write both: the layout has the manifest as it was pushed.
  if (files.Has("index.json") && files.Has("oci-layout")) return FindInLayout(files, ref, architecture);
  if (files.Has("manifest.json")) return FindInSave(files, ref);
  return Fail(
      ErrorCode::kInvalid,
      "it is neither an OCI image layout (there is no oci-layout with an index.json) nor of `docker save` (there "
      "is no manifest.json)");
}

std::string HostArchitecture() {
  utsname host{};
  if (uname(&host) != 0) return "amd64";
  const std::string machine = host.machine;
  if (machine == "x86_64") return "amd64";
  if (machine == "aarch64") return "arm64";
  if (machine == "i686" || machine == "i386") return "386";
  return machine;
}

}  // namespace caisson::cli
