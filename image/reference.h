// SPDX-License-Identifier: Apache-2.0
// Reference: the name of an image, "[host[:port]/]name[:tag][@digest]", in the grammar of the distribution project,
// with Docker Hub's short forms ("alpine" is docker.io/library/alpine:latest). Plain value and pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace caisson::image {

struct Reference {
  std::string host;              // "docker.io", "127.0.0.1:5000", "[::1]:5000"; lower case
  std::string name;              // "library/alpine"
  std::string tag;               // empty only where there is a digest
  std::optional<Digest> digest;  // wins over the tag

  std::string repository() const { return host + "/" + name; }
  std::string ToString() const;
  // What goes into /v2/NAME/manifests/...: the digest, else the tag.
  std::string TagOrDigest() const { return digest ? digest->ToString() : tag; }
};

// kInvalid with the reason.
Result<Reference> ParseReference(std::string_view text);

// Where the registry of `host` is reached: docker.io is served by registry-1.docker.io.
std::string EndpointOf(const std::string& host);

}  // namespace caisson::image
