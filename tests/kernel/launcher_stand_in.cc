// SPDX-License-Identifier: Apache-2.0
// The store worker and the service of launcher tests: started as "caisson-worker" or "caisson-service", this program
// does what its input says instead of running tests. It shows what either gets from the launcher; the real ones are
// tested with image/ and in integration/.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
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
  char score[8] = {};
  const int file = open("/proc/self/oom_score_adj", O_RDONLY);
  if (read(file, score, sizeof score - 1) > 0) Report(std::string("oom score ") + score);
  close(file);
}

void LookAtLayers() {
  Report("layers " + NamesIn("layers"));
  Report("first " + NamesIn("layers/0"));
  Report("write " + std::to_string(MakeFile("layers/0/new", "x")));
  Report("out " + std::to_string(MakeFile("out/new", "x")));
  const int remounted = mount(nullptr, "layers/0", nullptr, MS_REMOUNT | MS_BIND, nullptr);
  Report("remount " + std::to_string(remounted != 0 ? -errno : 0));
  const int unmounted = umount2("layers/0", MNT_DETACH);
  Report("unmount " + std::to_string(unmounted != 0 ? -errno : 0));
}

// Leaves a process behind that goes on writing into the layer.
int Linger() {
  if (MakeTree() != 0) return 1;
  const int file = open("out/late", O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fork() == 0) {
    setsid();
    for (;;) (void)!write(file, "late\n", 5);
  }
  // The child has begun once the file grows.
  struct stat info {};
  while (fstat(file, &info) == 0 && info.st_size == 0) sched_yield();
  return 0;
}

// As many threads or processes as it gets.
void Multiply() {
  int made = 0;
  while (made < 1000 && fork() >= 0) ++made;  // children multiply too
  Report("made " + std::to_string(made));
  for (;;) pause();
}

void Flood() {
  for (;;) Report("one more line of a report without end");
}

void Swell() {
  for (;;) {
    void* memory = mmap(nullptr, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) break;
  }
  Report("memory ended with " + std::to_string(errno));
}

// Into a file that is complete once it has its name.
void LookAsService() {
  const int report = open("/mnt/data/report.new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  dup2(report, STDOUT_FILENO);
  close(report);
  Look();
  struct stat program {};
  if (stat("/proc/self/exe", &program) == 0) Report("program " + std::to_string(program.st_ino));
  Report("mnt " + NamesIn("/mnt"));
  Report("write " + std::to_string(MakeFile("/mnt/file", "x")));
  Report("run " + std::to_string(MakeFile("/mnt/run/file", "x")));
  for (char** variable = environ; *variable != nullptr; ++variable) Report(std::string("env ") + *variable);
  const int status = open("/proc/self/status", O_RDONLY);
  char text[8192];
  const ssize_t got = read(status, text, sizeof text);
  Report(std::string(text, got > 0 ? static_cast<size_t>(got) : 0));
  rename("/mnt/data/report.new", "/mnt/data/report");
}

void WaitForSignals(int count) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  LookAsService();
  for (int received = 0; count < 0 || received < count; ++received) {
    sigwaitinfo(&signals, nullptr);
    MakeFile("/mnt/data/signaled", "x");
  }
}

[[noreturn]] void BeAService() {
  char order[64] = {};
  (void)!pread(4, order, sizeof order - 1, 0);  // the settings
  if (strcmp(order, "crash") == 0) _exit(1);
  WaitForSignals(strcmp(order, "twice") == 0 ? 2 : strcmp(order, "stubborn") == 0 ? -1 : 1);
  _exit(0);
}

// Before the static objects of this program, which would open descriptors of their own.
__attribute__((constructor(101))) void BeAnother(int argc, char** argv, char**) {
  if (argc == 1 && strcmp(argv[0], "caisson-service") == 0) BeAService();
  if (argc != 2 || strcmp(argv[0], "caisson-worker") != 0) return;
  char input[64] = {};
  const ssize_t got = read(STDIN_FILENO, input, sizeof input - 1);
  const std::string order(input, got > 0 ? static_cast<size_t>(got) : 0);
  Report(std::string("verb ") + argv[1]);
  if (order == "tree") _exit(MakeTree());
  if (order == "linger") _exit(Linger());
  if (order == "flood") Flood();
  if (order == "swell") Swell();
  if (order == "multiply") Multiply();
  if (order == "look") Look();
  if (order == "layers") LookAtLayers();
  if (order == "hang") pause();
  if (order == "complain") dprintf(STDERR_FILENO, "something is amiss");
  _exit(order == "fail" ? 3 : 0);
}

}  // namespace
