// SPDX-License-Identifier: Apache-2.0
// The store worker of launcher tests: started as "caisson-worker", this program does what its input says instead of
// running tests. It shows what a worker gets from the launcher; the real one is tested with image/.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

void Report(const std::string& line) { dprintf(STDOUT_FILENO, "%s\n", line.c_str()); }

std::string NamesIn(const char* path) {
  std::string names;
  DIR* directory = opendir(path);
  while (const dirent* entry = directory != nullptr ? readdir(directory) : nullptr) {
    if (entry->d_name[0] != '.') names += std::string(entry->d_name) + " ";
  }
  return names;
}

int MakeFile(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (fd < 0) return -errno;
  const ssize_t written = write(fd, text, strlen(text));
  close(fd);
  return written < 0 ? -errno : 0;
}

int OpenDescriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

// A small layer: two directories, a file of user 5, a link out of it.
int MakeTree() {
  if (mkdir("out/kept", 0750) != 0 || mkdir("out/kept/deeper", 0755) != 0) return 1;
  if (MakeFile("out/kept/file", "content") != 0 || chown("out/kept/file", 5, 6) != 0) return 1;
  return symlink("/etc", "out/link") == 0 ? 0 : 1;
}

void Look() {
  Report("ids " + std::to_string(getuid()) + " " + std::to_string(getgid()) + " " +
         std::to_string(getgroups(0, nullptr)));
  Report("pid " + std::to_string(getpid()));
  Report("descriptors " + std::to_string(OpenDescriptors()));
  Report("no_new_privs " + std::to_string(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)));
  Report("here " + NamesIn("."));
  Report("network " + NamesIn("/sys/class/net"));
}

void LookAtLayers() {
  Report("layers " + NamesIn("layers"));
  Report("first " + NamesIn("layers/0"));
  Report("write " + std::to_string(MakeFile("layers/0/new", "x")));
  const int remounted = mount(nullptr, "layers/0", nullptr, MS_REMOUNT | MS_BIND, nullptr);
  Report("remount " + std::to_string(remounted != 0 ? -errno : 0));
  const int unmounted = umount2("layers/0", MNT_DETACH);
  Report("unmount " + std::to_string(unmounted != 0 ? -errno : 0));
}

// Before the static objects of this program, which would open descriptors of their own.
__attribute__((constructor(101))) void BeAWorker(int argc, char** argv, char**) {
  if (argc != 2 || strcmp(argv[0], "caisson-worker") != 0) return;
  char input[64] = {};
  const ssize_t got = read(STDIN_FILENO, input, sizeof input - 1);
  const std::string order(input, got > 0 ? static_cast<size_t>(got) : 0);
  Report(std::string("verb ") + argv[1]);
  if (order == "tree") _exit(MakeTree());
  if (order == "look") Look();
  if (order == "layers") LookAtLayers();
  if (order == "hang") pause();
  if (order == "complain") dprintf(STDERR_FILENO, "something is amiss");
  _exit(order == "fail" ? 3 : 0);
}

}  // namespace
