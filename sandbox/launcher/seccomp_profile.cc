// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/seccomp_profile.h"

#include <cerrno>

namespace caisson::sandbox {
namespace {

constexpr Verdict kAllow{Verdict::Action::kAllow, 0};
constexpr Verdict kEperm{Verdict::Action::kErrno, EPERM};
constexpr Verdict kEnosys{Verdict::Action::kErrno, ENOSYS};
constexpr Verdict kNotSupported{Verdict::Action::kErrno, EOPNOTSUPP};
constexpr Verdict kNoFamily{Verdict::Action::kErrno, EAFNOSUPPORT};
constexpr Verdict kNoProtocol{Verdict::Action::kErrno, EPROTONOSUPPORT};
constexpr Verdict kNoOption{Verdict::Action::kErrno, ENOPROTOOPT};
constexpr Verdict kSucceedWithoutEffect{Verdict::Action::kErrno, 0};

constexpr SyscallGroup kGroups[] = {
    // ---- Allowed ----------------------------------------------------------------------------------------------
    {kAllow, "files: within the job's own tree; sync_file_range, fsync and syncfs cost the job's own io",
     "access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 "
     "fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync flock fstat fstatfs fsync ftruncate "
     "futimesat getcwd getdents getdents64 lchown link linkat lseek lstat mkdir mkdirat mknod mknodat newfstatat open "
     "openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat "
     "readv rename renameat renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat sync_file_range syncfs "
     "tee truncate umask unlink unlinkat utime utimensat utimes write writev"},
    {kAllow, "extended attributes: the kernel lets a job without capabilities touch user.* only",
     "fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr "
     "removexattr setxattr getxattrat setxattrat listxattrat removexattrat"},
    {kAllow, "file notification: instances and watches are bounded in the job's user namespace",
     "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch"},
    {kAllow, "memory: charged to the job",
     "brk madvise map_shadow_stack membarrier memfd_create mlock mlock2 mlockall mmap mprotect mremap mseal msync "
     "munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect"},
    {kAllow, "waiting for events",
     "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 poll ppoll pselect6 "
     "select signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime"},
    {kAllow, "processes: within the job's own pid namespace and limits",
     "alarm capget capset clone execve execveat exit exit_group fork getcpu getpgid getpgrp getpid getppid "
     "getpriority getrlimit get_robust_list getrusage getsid gettid ioprio_get ioprio_set kill pause pidfd_open "
     "pidfd_send_signal prctl prlimit64 restart_syscall rseq seccomp set_robust_list set_tid_address setpgid "
     "setpriority setrlimit setsid tgkill times tkill vfork wait4 waitid"},
    {kAllow, "uprobes: the kernel itself makes a probed process call these; refusing them kills it",
     "uretprobe uprobe"},
    {kAllow, "scheduling: bounded by cpu.max and RLIMIT_RTPRIO 0",
     "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam "
     "sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler "
     "sched_yield"},
    {kAllow, "identity: without capabilities a job can only keep its ids",
     "getegid geteuid getgid getgroups getresgid getresuid getuid setfsgid setfsuid setgid setgroups setregid "
     "setresgid setresuid setreuid setuid"},
    {kAllow, "signals, futexes, time",
     "clock_getres clock_gettime clock_nanosleep futex futex_requeue futex_wait futex_waitv futex_wake getitimer "
     "gettimeofday nanosleep rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
     "rt_sigtimedwait rt_tgsigqueueinfo setitimer sigaltstack time timer_create timer_delete timer_getoverrun "
     "timer_gettime timer_settime"},
    {kAllow, "System V and POSIX ipc: in the job's own ipc namespace",
     "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd semctl "
     "semget semop semtimedop shmat shmctl shmdt shmget"},
    {kAllow, "sockets: families by the argument rules below",
     "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg "
     "sendmsg sendto setsockopt shutdown socket socketpair"},
    {kAllow, "small things that everything needs",
     "arch_prctl getrandom ioctl landlock_add_rule landlock_create_ruleset landlock_restrict_self personality "
     "sysinfo uname"},
    {kSucceedWithoutEffect, "would write back the whole host's dirty pages; callers ignore its result", "sync"},

    // ---- Refused: EPERM -----------------------------------------------------------------------------------------
    {kEperm, "namespaces, mounts and roots are made by the launcher only",
     "unshare setns mount umount2 pivot_root chroot fsopen fsmount fsconfig fspick move_mount open_tree "
     "open_tree_attr mount_setattr"},
    {kEperm, "another process's memory and descriptors",
     "ptrace process_vm_readv process_vm_writev process_madvise "
     "process_mrelease kcmp pidfd_getfd"},
    {kEperm, "kernel attack surface with a long record, and nothing that a job needs", "bpf perf_event_open"},
    {kEperm, "opens a file by its inode's number, past every directory's permissions", "open_by_handle_at"},
    {kEperm, "maps pages of the page cache into pipes: the means of several page-cache-write bugs", "vmsplice"},
    {kEperm, "the host's administration",
     "acct swapon swapoff reboot kexec_load kexec_file_load create_module query_module init_module finit_module "
     "delete_module iopl ioperm settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname syslog "
     "vhangup quotactl quotactl_fd lookup_dcookie nfsservctl uselib ustat sysfs"},
    {kEperm, "placement of memory on the host's nodes; callers go on with a warning",
     "mbind get_mempolicy set_mempolicy set_mempolicy_home_node migrate_pages move_pages"},

    // ---- Refused: ENOSYS or what callers understand as absent ---------------------------------------------------
    {kEnosys, "its flags are behind a pointer, where no filter sees them; libc falls back to clone", "clone3"},
    {kEnosys, "dozens of memory bugs, and a second way to every other call here; libuv, Go and the JVM fall back",
     "io_uring_setup io_uring_enter io_uring_register"},
    {kEnosys, "holds kernel threads at a page fault of the job's choosing", "userfaultfd"},
    {kEnosys, "notification about other users' files; its groups are charged to the host's root",
     "fanotify_init fanotify_mark"},
    {kEnosys, "one host-wide pool of aio contexts without a limit for a job",
     "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents"},
    {kEnosys, "keyrings outlive the job and are shared by user id", "keyctl add_key request_key"},
    {kEnosys, "print more of the mount table than /proc does", "statmount listmount"},
    {kEnosys, "shows which pages of a shared layer another tenant has read", "mincore cachestat"},
    {kEnosys, "memory that the host cannot look into or move", "memfd_secret"},
    {kEnosys, "16-bit segments: bugs, and nothing but Wine needs it", "modify_ldt"},
    {kEnosys, "the host's security modules", "lsm_get_self_attr lsm_set_self_attr lsm_list_modules"},
    {kEnosys, "inode flags; callers fall back to the ioctl", "file_getattr file_setattr"},
    {kEnosys, "not implemented on x86-64, or not any more",
     "_sysctl afs_syscall epoll_ctl_old epoll_wait_old get_kernel_syms get_thread_area getpmsg putpmsg "
     "remap_file_pages security set_thread_area tuxcall vserver"},
    {kNotSupported, "the first half of open_by_handle_at; callers do without", "name_to_handle_at"},
};

constexpr SyscallNumber kNumbers[] = {
    {"uretprobe", 335},         {"uprobe", 336},
    {"statmount", 457},         {"listmount", 458},
    {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460},
    {"lsm_list_modules", 461},  {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},
    {"listxattrat", 465},       {"removexattrat", 466},
    {"open_tree_attr", 467},    {"file_getattr", 468},
    {"file_setattr", 469},
};

constexpr uint32_t kWhole = 0xffffffff;
constexpr uint32_t kNamespaceFlags = 0x7e020000;  // NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
constexpr uint32_t kFileType = 0170000;
constexpr uint32_t kSocketType = 0xf;
constexpr uint32_t kUnix = 1, kInet = 2, kInet6 = 10, kNetlink = 16, kPacket = 17;
constexpr uint32_t kStream = 1, kDatagram = 2, kRaw = 3, kPacketType = 10;
constexpr uint32_t kTcp = 6, kUdp = 17;
constexpr uint32_t kRlimitCore = 4;

constexpr ArgumentRule kRules[] = {
    {"clone", kAllow, "a process or thread in the same namespaces", 1, {{0, kNamespaceFlags, 0}}},
    {"clone", kEperm, "no namespace of the job's own making", 0, {}},

    {"socket", kAllow, "local sockets", 1, {{0, kWhole, kUnix}}},
    {"socket", kAllow, "TCP", 3, {{0, kWhole, kInet}, {1, kSocketType, kStream}, {2, kWhole, 0}}},
    {"socket", kAllow, "TCP", 3, {{0, kWhole, kInet}, {1, kSocketType, kStream}, {2, kWhole, kTcp}}},
    {"socket", kAllow, "UDP", 3, {{0, kWhole, kInet}, {1, kSocketType, kDatagram}, {2, kWhole, 0}}},
    {"socket", kAllow, "UDP", 3, {{0, kWhole, kInet}, {1, kSocketType, kDatagram}, {2, kWhole, kUdp}}},
    {"socket", kAllow, "TCP", 3, {{0, kWhole, kInet6}, {1, kSocketType, kStream}, {2, kWhole, 0}}},
    {"socket", kAllow, "TCP", 3, {{0, kWhole, kInet6}, {1, kSocketType, kStream}, {2, kWhole, kTcp}}},
    {"socket", kAllow, "UDP", 3, {{0, kWhole, kInet6}, {1, kSocketType, kDatagram}, {2, kWhole, 0}}},
    {"socket", kAllow, "UDP", 3, {{0, kWhole, kInet6}, {1, kSocketType, kDatagram}, {2, kWhole, kUdp}}},
    {"socket", kAllow, "route netlink, for the list of interfaces", 2, {{0, kWhole, kNetlink}, {2, kWhole, 0}}},
    {"socket", kNoProtocol, "netfilter, xfrm, audit, generic: open without any capability", 1, {{0, kWhole, kNetlink}}},
    {"socket", kEperm, "raw packets", 1, {{0, kWhole, kPacket}}},
    {"socket", kEperm, "raw sockets", 2, {{0, kWhole, kInet}, {1, kSocketType, kRaw}}},
    {"socket", kEperm, "raw sockets", 2, {{0, kWhole, kInet6}, {1, kSocketType, kRaw}}},
    {"socket", kEperm, "raw packets, the old way", 2, {{0, kWhole, kInet}, {1, kSocketType, kPacketType}}},
    {"socket",
     kNoProtocol,
     "MPTCP, SCTP, ICMP: Go asks for MPTCP and must hear \"not supported\"",
     1,
     {{0, kWhole, kInet}}},
    {"socket", kNoProtocol, "the same over IPv6", 1, {{0, kWhole, kInet6}}},
    {"socket", kNoFamily, "every other family loads a module of the host and widens its surface", 0, {}},
    {"socketpair", kAllow, "local sockets", 1, {{0, kWhole, kUnix}}},
    {"socketpair", kNoFamily, "no other family", 0, {}},

    {"setsockopt",
     kNoOption,
     "TCP_ULP: kTLS and espintcp, page-cache writes; callers fall back",
     2,
     {{1, kWhole, kTcp}, {2, kWhole, 31}}},
    {"setsockopt", kNoOption, "TCP_REPAIR", 2, {{1, kWhole, kTcp}, {2, kWhole, 19}}},
    {"setsockopt", kNoOption, "UDP_ENCAP: ESP in UDP", 2, {{1, kWhole, kUdp}, {2, kWhole, 100}}},

    {"ioctl", kEperm, "TIOCSTI: types into its terminal", 1, {{1, kWhole, 0x5412}}},
    {"ioctl", kEperm, "TIOCLINUX: the console's clipboard", 1, {{1, kWhole, 0x541c}}},
    {"ioctl", kEperm, "TIOCCONS: takes the console's output", 1, {{1, kWhole, 0x541d}}},
    {"ioctl", kEperm, "TIOCSETD: loads line disciplines", 1, {{1, kWhole, 0x5423}}},
    {"ioctl", kEperm, "nsfs: parents and owners of namespaces", 1, {{1, 0xff00, 0xb700}}},
    {"ioctl", kEperm, "FS_IOC_ENABLE_VERITY", 1, {{1, kWhole, 0x40806685}}},

    {"prctl", kEperm, "PR_SET_MM", 1, {{0, kWhole, 35}}},
    {"prctl", kEperm, "PR_SET_IO_FLUSHER", 1, {{0, kWhole, 57}}},
    {"prctl", kEperm, "PR_SCHED_CORE: keeps others off a core", 1, {{0, kWhole, 62}}},

    {"personality", kAllow, "the normal one", 1, {{0, kWhole, 0}}},
    {"personality", kAllow, "the question which one is set", 1, {{0, kWhole, 0xffffffff}}},
    {"personality", kEperm, "no switching off of address randomization, no executable data", 0, {}},

    // RLIMIT_CORE must stay 1, the one value at which the kernel starts no core handler on the host.
    {"setrlimit", kSucceedWithoutEffect, "the core limit stays", 1, {{0, kWhole, kRlimitCore}}},
    {"prlimit64",
     kAllow,
     "reading the core limit (no new one)",
     3,
     {{1, kWhole, kRlimitCore}, {2, kWhole, 0}, {2, kWhole, 0, true}}},
    {"prlimit64", kSucceedWithoutEffect, "the core limit stays", 1, {{1, kWhole, kRlimitCore}}},

    {"mknod", kAllow, "a regular file", 1, {{1, kFileType, 0}}},
    {"mknod", kAllow, "a regular file", 1, {{1, kFileType, 0100000}}},
    {"mknod", kAllow, "a FIFO", 1, {{1, kFileType, 0010000}}},
    {"mknod", kAllow, "a socket", 1, {{1, kFileType, 0140000}}},
    {"mknod", kEperm, "no devices, overlay's whiteout (0:0) included", 0, {}},
    {"mknodat", kAllow, "a regular file", 1, {{2, kFileType, 0}}},
    {"mknodat", kAllow, "a regular file", 1, {{2, kFileType, 0100000}}},
    {"mknodat", kAllow, "a FIFO", 1, {{2, kFileType, 0010000}}},
    {"mknodat", kAllow, "a socket", 1, {{2, kFileType, 0140000}}},
    {"mknodat", kEperm, "no devices", 0, {}},

    {"memfd_create", kEperm, "MFD_HUGETLB: the host's pool of huge pages", 1, {{1, 4, 4}}},
    {"shmget", kEperm, "SHM_HUGETLB: the same pool", 1, {{2, 04000, 04000}}},
    {"seccomp",
     kEperm,
     "SECCOMP_FILTER_FLAG_NEW_LISTENER: a stuck listener makes tasks unkillable for tools",
     1,
     {{1, 8, 8}}},
};

}  // namespace

std::span<const SyscallGroup> SyscallGroups() { return kGroups; }
std::span<const SyscallNumber> NewerSyscallNumbers() { return kNumbers; }
std::span<const ArgumentRule> ArgumentRules() { return kRules; }

}  // namespace caisson::sandbox
