// SPDX-License-Identifier: Apache-2.0
// LocalImage: one image among local files, as the daemon takes it: a manifest and the blobs that it names. Understands
// the OCI image layout, and what `docker save` writes (of which it makes an OCI manifest). Digests are computed or
// taken from the layout; the daemon proves each of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json/json.h"
#include "base/result.h"
#include "cli/local_files.h"

namespace caisson::cli {

struct LocalBlob {
  std::string digest;  // "sha256:..."
  std::string file;    // its name among the local files
  uint64_t bytes = 0;
};

struct LocalImage {
  std::string name;              // that it carries, "docker.io/library/busybox:1"; empty where it carries none
  std::string manifest;          // its exact bytes
  std::vector<LocalBlob> blobs;  // each once; the config is first
};

// `ref` chooses where there are several: a tag, or a whole name. kInvalid says what there is; kUnsupported: for another
// platform only. `architecture` is as OCI names it ("amd64").
Result<LocalImage> FindLocalImage(const LocalFiles& files, const std::string& ref, const std::string& architecture);

// Of this host, as OCI names it.
std::string HostArchitecture();

}  // namespace caisson::cli
