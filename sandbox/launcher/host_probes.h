// SPDX-License-Identifier: Apache-2.0
// The doctor's single questions to the host (doctor.h). Each tries the thing itself and leaves nothing behind.
#pragma once

#include <string>

#include "sandbox/launcher/doctor.h"

namespace caisson::sandbox {

Check ProbeRoot();
Check ProbeServiceUser(const std::string& user);
Check ProbeNamespaces();
Check ProbeUserNamespaces();
// On the file system of `data_dir`, or of its nearest parent that exists.
Check ProbeIdmappedMounts(const std::string& data_dir);
Check ProbeOverlay();
Check ProbeSeccomp();
Check ProbeMemoryFileExec();
Check ProbeOpenFiles();
Check ProbeResourceCapability();
Check ProbeCorePattern();

}  // namespace caisson::sandbox
