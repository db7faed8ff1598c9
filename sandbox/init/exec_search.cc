// SPDX-License-Identifier: Apache-2.0
#include "sandbox/init/exec_search.h"

#include <linux/errno.h>
#include <stddef.h>

#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kPathBytes = 4096;
constexpr const char* kPathWithoutVariable = "/bin:/usr/bin";

size_t Length(const char* text) {
  size_t length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

bool HasSlash(const char* text) {
  for (; *text != '\0'; ++text) {
    if (*text == '/') return true;
  }
  return false;
}

const char* FindPath(char** envp) {
  for (; *envp != nullptr; ++envp) {
    const char* e = *envp;
    if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=') return e + 5;
  }
  return kPathWithoutVariable;
}

// "DIRECTORY/NAME" into `path`; an empty directory is the current one. False if it does not fit.
bool Join(char* path, const char* directory, size_t directory_length, const char* name, size_t name_length) {
  if (directory_length + name_length + 2 > kPathBytes) return false;
  char* at = path;
  for (size_t i = 0; i < directory_length; ++i) *at++ = directory[i];
  if (directory_length > 0) *at++ = '/';
  for (size_t i = 0; i <= name_length; ++i) *at++ = name[i];
  return true;
}

bool LooksElsewhere(long error) {
  return error == -ENOENT || error == -ENOTDIR || error == -ESTALE || error == -ENODEV || error == -ETIMEDOUT ||
         error == -ENAMETOOLONG;
}

}  // namespace

long ExecuteBySearch(char** argv, char** envp) {
  const char* const name = argv[0];
  if (HasSlash(name)) return raw::Call(__NR_execve, name, argv, envp);
  const size_t name_length = Length(name);
  if (name_length == 0) return -ENOENT;

  char path[kPathBytes];
  bool denied = false;
  const char* directory = FindPath(envp);
  for (int entries = 0; entries < kMaxPathEntries; ++entries) {
    size_t length = 0;
    while (directory[length] != '\0' && directory[length] != ':') ++length;
    if (Join(path, directory, length, name, name_length)) {
      const long error = raw::Call(__NR_execve, path, argv, envp);
      if (error == -EACCES) {
        denied = true;
      } else if (!LooksElsewhere(error)) {
        return error;
      }
    }
    if (directory[length] == '\0') break;
    directory += length + 1;
  }
  return denied ? -EACCES : -ENOENT;
}

}  // namespace caisson::sandbox
