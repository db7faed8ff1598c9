// SPDX-License-Identifier: Apache-2.0
#include "image/manifest.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "base/encoding.h"
#include "base/json/json.h"
#include "image/layer/limits.h"

namespace caisson::image {

const char* const kManifestAccept =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

namespace {

enum class Kind { kManifest, kIndex };

struct KnownType {
  std::string_view media_type;
  Kind kind;
};
constexpr KnownType kDocumentTypes[] = {
    {"application/vnd.oci.image.manifest.v1+json", Kind::kManifest},
    {"application/vnd.docker.distribution.manifest.v2+json", Kind::kManifest},
    {"application/vnd.oci.image.index.v1+json", Kind::kIndex},
    {"application/vnd.docker.distribution.manifest.list.v2+json", Kind::kIndex},
};

struct LayerType {
  std::string_view media_type;
  Compression compression;
};
constexpr LayerType kLayerTypes[] = {
    {"application/vnd.oci.image.layer.v1.tar", Compression::kNone},
    {"application/vnd.oci.image.layer.v1.tar+gzip", Compression::kGzip},
    {"application/vnd.oci.image.layer.v1.tar+zstd", Compression::kZstd},
    {"application/vnd.docker.image.rootfs.diff.tar", Compression::kNone},
    {"application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::kGzip},
    {"application/vnd.docker.image.rootfs.diff.tar.zstd", Compression::kZstd},
};
constexpr std::string_view kConfigTypes[] = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
};

constexpr size_t kMaxMediaTypeBytes = 255;  // RFC 6838 allows 127 for each half

// "Application/JSON; charset=utf-8" -> "application/json".
std::string BareMediaType(std::string_view header) {
  std::string type(header.substr(0, header.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(),
                 [](unsigned char c) { return c < 0x80 ? std::tolower(c) : c; });
  return type;
}

// Types that a plain web server or proxy gives to any file: they say nothing.
bool SaysNothing(std::string_view type) {
  return type.empty() || type == "application/json" || type == "application/octet-stream" || type == "text/plain";
}

Result<Kind> KindOf(std::string_view media_type) {
  for (const KnownType& known : kDocumentTypes)
    if (known.media_type == media_type) return known.kind;
  if (media_type.starts_with("application/vnd.docker.distribution.manifest.v1+"))
    return Fail(ErrorCode::kInvalid,
                "it is a Docker schema 1 manifest, a format without digests of its parts that is no longer served: "
                "push the image again with a current tool");
  return Fail(ErrorCode::kInvalid, "\"{}\" is not a manifest of a container image", EscapeForLog(media_type, 100));
}

Result<uint64_t> ParseSize(const Json& json, uint64_t limit) {
  const Json* size = json.Find("size");
  if (!size || !size->AsInt() || *size->AsInt() < 0)
    return Fail(ErrorCode::kInvalid, "\"size\" is missing or not a size");
  if (static_cast<uint64_t>(*size->AsInt()) > limit)
    return Fail(ErrorCode::kInvalid, "size {} is over the limit of {} bytes", *size->AsInt(), limit);
  return static_cast<uint64_t>(*size->AsInt());
}

// `urls` and `data` are not looked at: nothing that a manifest names outside its registry is ever fetched.
Result<Descriptor> ParseDescriptor(const Json& json, uint64_t max_size) {
  if (!json.AsObject()) return Fail(ErrorCode::kInvalid, "not an object");
  Descriptor descriptor;
  const Json* type = json.Find("mediaType");
  if (!type || !type->AsString() || type->AsString()->size() > kMaxMediaTypeBytes)
    return Fail(ErrorCode::kInvalid, "\"mediaType\" is missing or not a media type");
  descriptor.media_type = *type->AsString();
  descriptor.digest = TRY(Digest::Parse(json.StringOr("digest", "")));
  descriptor.size = TRY(ParseSize(json, max_size));
  return descriptor;
}

Result<LayerDescriptor> ParseLayer(const Json& json) {
  LayerDescriptor layer;
  layer.descriptor = TRY(ParseDescriptor(json, kMaxLayerBytes));
  const std::string& type = layer.descriptor.media_type;
  for (const LayerType& known : kLayerTypes) {
    if (known.media_type != type) continue;
    layer.compression = known.compression;
    return layer;
  }
  if (type.find("foreign") != std::string::npos || type.find("nondistributable") != std::string::npos)
    return Fail(ErrorCode::kInvalid, "it is kept outside the registry (\"{}\"), and nothing is fetched from elsewhere",
                EscapeForLog(type, 100));
  return Fail(ErrorCode::kInvalid, "\"{}\" is not a layer of a container image", EscapeForLog(type, 100));
}

Result<std::variant<Manifest, Index>> ParseImageManifest(const Json& json) {
  Manifest manifest;
  const Json* config = json.Find("config");
  const Json* layers = json.Find("layers");
  if (!config) return Fail(ErrorCode::kInvalid, "\"config\" is missing");
  if (!layers || !layers->AsArray()) return Fail(ErrorCode::kInvalid, "\"layers\" is missing or not an array");
  if (layers->AsArray()->size() > kMaxImageLayers)
    return Fail(ErrorCode::kInvalid, "{} layers are more than the {} that can be mounted", layers->AsArray()->size(),
                kMaxImageLayers);
  manifest.config = TRY_IN("config", ParseDescriptor(*config, kMaxConfigBytes));
  if (std::find(std::begin(kConfigTypes), std::end(kConfigTypes), manifest.config.media_type) == std::end(kConfigTypes))
    return Fail(ErrorCode::kInvalid, "it is not a container image but \"{}\"",
                EscapeForLog(manifest.config.media_type, 100));
  uint64_t total = 0;
  for (const Json& layer : *layers->AsArray()) {
    manifest.layers.push_back(TRY_IN(fmt::format("layer {}", manifest.layers.size() + 1), ParseLayer(layer)));
    total += manifest.layers.back().descriptor.size;
  }
  if (total > kMaxImageBytes)
    return Fail(ErrorCode::kInvalid, "its layers have {} bytes, over the limit of {}", total, kMaxImageBytes);
  return manifest;
}

Result<std::variant<Manifest, Index>> ParseIndex(const Json& json) {
  Index index;
  const Json* manifests = json.Find("manifests");
  if (!manifests || !manifests->AsArray()) return Fail(ErrorCode::kInvalid, "\"manifests\" is missing or not an array");
  if (manifests->AsArray()->size() > kMaxIndexEntries)
    return Fail(ErrorCode::kInvalid, "{} manifests are more than {}", manifests->AsArray()->size(), kMaxIndexEntries);
  for (const Json& item : *manifests->AsArray()) {
    IndexEntry entry;
    entry.manifest =
        TRY_IN(fmt::format("manifest {}", index.entries.size() + 1), ParseDescriptor(item, kMaxManifestBytes));
    if (const Json* platform = item.Find("platform"))
      entry.platform = {platform->StringOr("os", ""), platform->StringOr("architecture", ""),
                        platform->StringOr("variant", "")};
    index.entries.push_back(std::move(entry));
  }
  return index;
}

// What the document is, by its own word, the registry's, and its structure: all that speak have to agree, or two
// readers could see two images in one digest (CVE-2021-41190).
Result<Kind> DecideKind(const Json& json, std::string_view content_type) {
  if (json.IntOr("schemaVersion", 0) == 1) return KindOf("application/vnd.docker.distribution.manifest.v1+json");
  if (json.IntOr("schemaVersion", 0) != 2) return Fail(ErrorCode::kInvalid, "\"schemaVersion\" is not 2");
  const bool like_index = json.Find("manifests");
  const bool like_manifest = json.Find("layers") || json.Find("config");
  if (like_index && like_manifest) return Fail(ErrorCode::kInvalid, "it is manifest and index at once");
  const Json* own = json.Find("mediaType");
  if (own && !own->AsString()) return Fail(ErrorCode::kInvalid, "\"mediaType\" is not text");
  const std::string own_type = own ? *own->AsString() : "";
  const std::string registry_type = SaysNothing(BareMediaType(content_type)) ? "" : BareMediaType(content_type);
  if (!own_type.empty() && !registry_type.empty() && own_type != registry_type)
    return Fail(ErrorCode::kInvalid, "it calls itself \"{}\", the registry calls it \"{}\"",
                EscapeForLog(own_type, 100), EscapeForLog(registry_type, 100));
  const Kind structure = like_index ? Kind::kIndex : Kind::kManifest;
  if (own_type.empty() && registry_type.empty()) return structure;
  const Kind said = TRY(KindOf(own_type.empty() ? registry_type : own_type));
  if (said != structure) return Fail(ErrorCode::kInvalid, "its content is not what its media type says");
  return said;
}

int VariantRank(const Platform& platform) {
  // amd64 comes in levels; the plain one runs everywhere. arm64 has but v8.
  if (platform.variant.empty()) return 0;
  return platform.variant == "v1" || (platform.architecture == "arm64" && platform.variant == "v8") ? 1 : 2;
}

}  // namespace

std::string Platform::ToString() const { return os + "/" + architecture + (variant.empty() ? "" : "/" + variant); }

Result<std::variant<Manifest, Index>> ParseManifest(std::string_view bytes, std::string_view content_type) {
  const Json json = TRY(ParseJson(bytes, {.max_bytes = kMaxManifestBytes, .max_depth = kMaxJsonDepth}));
  if (!json.AsObject()) return Fail(ErrorCode::kInvalid, "it is not an object");
  const Kind kind = TRY(DecideKind(json, content_type));
  return kind == Kind::kIndex ? ParseIndex(json) : ParseImageManifest(json);
}

const Platform& HostPlatform() {
#if defined(__x86_64__)
  static const Platform kPlatform{"linux", "amd64", ""};
#elif defined(__aarch64__)
  static const Platform kPlatform{"linux", "arm64", ""};
#else
#error "no OCI name is known for this architecture"
#endif
  return kPlatform;
}

Result<Descriptor> SelectPlatform(const Index& index) {
  const IndexEntry* best = nullptr;
  std::set<std::string> seen;
  for (const IndexEntry& entry : index.entries) {
    const Result<Kind> kind = KindOf(entry.manifest.media_type);
    if (!kind || *kind != Kind::kManifest) continue;
    const Platform& platform = entry.platform;
    if (platform.os != "unknown" && !platform.os.empty()) seen.insert(EscapeForLog(platform.ToString(), 40));
    if (platform.os != HostPlatform().os || platform.architecture != HostPlatform().architecture) continue;
    if (VariantRank(platform) > 1) continue;  // may need a processor that this is not
    if (!best || VariantRank(platform) < VariantRank(best->platform)) best = &entry;
  }
  if (best) return best->manifest;
  return Fail(ErrorCode::kNotFound, "it has no image for {}; it has: {}", HostPlatform().ToString(),
              seen.empty() ? "none at all" : fmt::format("{}", fmt::join(seen, ", ")));
}

}  // namespace caisson::image
