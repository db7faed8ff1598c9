// SPDX-License-Identifier: Apache-2.0
// The doctor's single questions to the host (doctor.h). Each tries the thing itself and leaves nothing behind.
#pragma once

#include <string>

#include "sandbox/launcher/doctor.h"

namespace caisson::sandbox {

Check ExamineRoot();
Check ExamineServiceUser(const std::string& user);
Check ExamineNamespaces();
Check ExamineUserNamespaces();
// On the file system of `data_dir`, or of its nearest parent that exists.
Check ExamineIdmappedMounts(const std::string& data_dir);
Check ExamineOverlay();
Check ExamineSeccomp();
Check ExamineMemoryFileExec();
Check ExamineOpenFiles();
Check ExamineResourceCapability();
Check ExamineCorePattern();

}  // namespace caisson::sandbox
