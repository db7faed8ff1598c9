// SPDX-License-Identifier: Apache-2.0
#include "sandbox/spec.h"

namespace caisson::sandbox {

MountPointAttributes DefaultMountPointAttributes() {
  MountPointAttributes attributes{};
  attributes[static_cast<size_t>(MountPoint::kTmp)].mode = 01777;
  return attributes;
}

const char* MountPointPath(MountPoint point) {
  switch (point) {
    case MountPoint::kRoot: return "";
    case MountPoint::kDev: return "dev";
    case MountPoint::kProc: return "proc";
    case MountPoint::kSys: return "sys";
    case MountPoint::kTmp: return "tmp";
    case MountPoint::kRun: return "run";
    case MountPoint::kEtc: return "etc";
    case MountPoint::kCount: break;
  }
  return "";
}

}  // namespace caisson::sandbox
