// SPDX-License-Identifier: Apache-2.0
// A job's root: an overlay of its own over idmapped, read-only clones of its layers, with a private upper. Never
// shared: a clone of one overlay for two jobs would share locks, notifications and FIFOs.
//
// Two ways of assembly, chosen by trying once what the kernel takes: by descriptors of mounts that are attached
// nowhere (6.13 and later), else with the layers attached for the moment in the launcher's private directory and
// mount(2), whose option page of 4 KiB has room for kMaxLayers names as short as these.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

enum class OverlayAssembly { kByDescriptor, kAttached };

struct OverlayMethod {
  OverlayAssembly assembly = OverlayAssembly::kAttached;
  std::vector<std::string> options;  // "key=value"; those of ours that this kernel takes
};

// Makes small overlays to find out. In the lean root.
Result<OverlayMethod> FindOverlayMethod();

// What this kernel takes of our options when overlays are assembled in that way. kUnsupported where it is none.
Result<OverlayMethod> FindOverlayMethod(OverlayAssembly assembly);

// A detached overlay (nosuid, nodev). `layers_top_first`: detached mounts; `upper`: a detached tmpfs with
// kUpperDirectory and kWorkDirectory. All are borrowed; the overlay keeps what it needs of them. Nothing stays
// attached.
Result<Fd> AssembleOverlay(const OverlayMethod& method, std::span<const Fd> layers_top_first, int upper);

}  // namespace caisson::sandbox
