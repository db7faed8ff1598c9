// SPDX-License-Identifier: Apache-2.0
// What the service knows of an image in its store: the record that Pull() writes last, when every layer is committed.
// Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"

namespace caisson::image {

// Of a config: no program could be given as much, and every record is kept in memory while it is used.
inline constexpr size_t kMaxKeptConfigBytes = 1 << 20;

// The execution parameters of the image's config (OCI image spec, config.md).
struct ImageConfig {
  std::string architecture;
  std::string os;
  std::string user;
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::vector<std::string> env;  // "NAME=value"
  std::string working_dir;
  std::string stop_signal;
};

struct PathAttributes {
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct LayerRecord {
  Digest digest;   // compressed: names the directory
  Digest diff_id;  // uncompressed, verified by us
  uint64_t compressed_bytes = 0;
  uint64_t unpacked_bytes = 0;
  uint64_t entries = 0;
};

struct ImageRecord {
  std::string reference;   // as first pulled, normalised
  std::string repository;  // host/name
  Digest manifest;         // of the platform's manifest: what a job's image_digest shows
  Digest index;            // of the index it came through; equal to `manifest` where there was none
  ImageConfig config;
  std::vector<LayerRecord> layers;  // base first
  LayerName fixup;                  // topmost layer
  // Real directories of the merged root among "", dev, proc, sys, tmp, run, etc (missing where the image has none).
  std::map<std::string, PathAttributes> directories;
  std::string passwd;  // copies of etc/passwd and etc/group, at most 1 MiB each
  std::string group;
  std::vector<std::string> warnings;  // "12 device nodes skipped"
  UnixMillis pulled_at = 0;
  UnixMillis used_at = 0;  // the last time a job or a call took it; not part of the stored record

  // The layers of a rootfs, top first: the fix-up layer, then the image's from the newest to the base. Layers below
  // one whose root is opaque are left out.
  std::vector<LayerName> rootfs;
};

// The process identity that USER (or the job's `user`) means in an image.
struct ResolvedUser {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  std::string home = "/";
};

}  // namespace caisson::image
