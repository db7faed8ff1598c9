// SPDX-License-Identifier: Apache-2.0
// The host's directories that an instance owns: the data directory with layers/, tmp/ (root's) and service/ (the
// service user's), its lock, its instance id, and the run directory. Made and checked once, by path, before the
// launcher leaves the host's mounts. Owned by the launcher's main.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

struct ServiceUser {
  uid_t uid = 0;
  gid_t gid = 0;
};

// A name, or UID:GID. Root is refused. A missing name is one error with the command that makes the user.
Result<ServiceUser> ResolveServiceUser(const std::string& user);

class DataDirectory {
 public:
  // Creates what is missing. kConflict when another launcher has it; an error too when somebody else owns it.
  static Result<DataDirectory> Open(const std::string& path, const ServiceUser& user);

  const std::string& path() const { return path_; }
  std::string service_dir() const { return path_ + "/service"; }
  const std::string& instance() const { return instance_; }  // [a-z0-9]{8}, for ever
  int fd() const { return directory_.get(); }

 private:
  std::string path_;
  std::string instance_;
  Fd directory_;
  Fd lock_;  // held for life
};

// The service's own: where its socket is. An existing directory is taken over only if it is empty or its own already.
Result<void> MakeRunDirectory(const std::string& path, const ServiceUser& user);

}  // namespace caisson::sandbox
