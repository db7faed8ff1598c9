// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/overlay.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "sandbox/launcher/lean_root.h"
#include "sandbox/launcher/mount_api.h"
#include "sandbox/launcher/upper.h"

namespace caisson::sandbox {
namespace {

// This kernel's defaults may follow redirects that a layer brings along; the others would write attributes that tie
// an upper to its layers, or change inode numbers.
constexpr const char* kWantedOptions[] = {"redirect_dir=nofollow", "metacopy=off", "index=off", "nfs_export=off",
                                          "xino=off"};

// The attached way: a tmpfs of its own beneath the assembly directory, with places for mounts, for as long as this
// object lives. All are unmounted with it at once: each unmounting by itself would wait for a grace period of the
// kernel.
class Bench {
 public:
  Bench() = default;
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    if (attached_) (void)::umount2(path_.c_str(), MNT_DETACH);
  }

  Result<void> SetUp() {
    if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) return FailErrno(errno, "make {}", path_);
    const Fd tmpfs = TRY(MakeMount("tmpfs", {{"size", "64k"}, {"mode", "0700"}}, 0));
    TRY(AttachMount(tmpfs.get(), path_.c_str()));
    attached_ = true;
    return {};
  }
  Result<std::string> MakePlace(const std::string& name) {
    const std::string path = path_ + "/" + name;
    if (::mkdir(path.c_str(), 0700) != 0) return FailErrno(errno, "make {}", path);
    return path;
  }
  Result<std::string> Attach(int mount, const std::string& name) {
    const std::string path = TRY(MakePlace(name));
    TRY(AttachMount(mount, path.c_str()));
    return path;
  }

 private:
  std::string path_ = std::string(kAssemblyPath) + "/now";
  bool attached_ = false;
};

Result<Fd> AssembleAttached(const OverlayMethod& method, std::span<const Fd> layers, int upper) {
  Bench bench;
  TRY(bench.SetUp());
  std::string options;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string place = TRY(bench.Attach(layers[i].get(), std::to_string(i)));
    options.append(i == 0 ? "lowerdir=" : ":").append(place);
  }
  const std::string upper_place = TRY(bench.Attach(upper, "upper"));
  options += fmt::format(",upperdir={0}/{1},workdir={0}/{2}", upper_place, kUpperDirectory, kWorkDirectory);
  for (const std::string& option : method.options) options.append(",").append(option);
  const std::string merged = TRY(bench.MakePlace("merged"));
  if (::mount("overlay", merged.c_str(), "overlay", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    return FailErrno(errno, "mount overlay");
  }
  return CloneMount(AT_FDCWD, merged);
}

Result<void> Configure(int context, unsigned command, const char* key, const char* value, int descriptor) {
  if (::fsconfig(context, static_cast<fsconfig_command>(command), key, value, descriptor) != 0) {
    return FailErrno(errno, "overlay option {}", key == nullptr ? "(make)" : key);
  }
  return {};
}

Result<Fd> AssembleByDescriptor(const OverlayMethod& method, std::span<const Fd> layers, int upper) {
  const Fd upper_directory = TRY(OpenAt(upper, kUpperDirectory, O_PATH | O_DIRECTORY));
  const Fd work_directory = TRY(OpenAt(upper, kWorkDirectory, O_PATH | O_DIRECTORY));
  const Fd context(::fsopen("overlay", FSOPEN_CLOEXEC));
  if (!context) return FailErrno(errno, "open file system type overlay");
  TRY(Configure(context.get(), FSCONFIG_SET_STRING, "source", "overlay", 0));
  for (const Fd& layer : layers) TRY(Configure(context.get(), FSCONFIG_SET_FD, "lowerdir+", nullptr, layer.get()));
  TRY(Configure(context.get(), FSCONFIG_SET_FD, "upperdir", nullptr, upper_directory.get()));
  TRY(Configure(context.get(), FSCONFIG_SET_FD, "workdir", nullptr, work_directory.get()));
  for (const std::string& option : method.options) {
    const size_t equals = option.find('=');
    TRY(Configure(context.get(), FSCONFIG_SET_STRING, option.substr(0, equals).c_str(),
                  option.substr(equals + 1).c_str(), 0));
  }
  TRY(Configure(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0));
  Fd overlay(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  if (!overlay) return FailErrno(errno, "mount overlay");
  return overlay;
}

Result<void> TryOnce(const OverlayMethod& method) {
  std::vector<Fd> layers;
  for (int i = 0; i < 2; ++i) layers.push_back(TRY(MakeMount("tmpfs", {{"size", "4k"}}, MOUNT_ATTR_RDONLY)));
  const Fd upper = TRY(MakeMount("tmpfs", {{"size", "64k"}}, 0));
  for (const char* name : {kUpperDirectory, kWorkDirectory}) {
    if (::mkdirat(upper.get(), name, 0700) != 0) return FailErrno(errno, "make {}", name);
  }
  TRY(AssembleOverlay(method, layers, upper.get()));
  return {};
}

}  // namespace

Result<OverlayMethod> FindOverlayMethod(OverlayAssembly assembly) {
  OverlayMethod method{assembly, {std::begin(kWantedOptions), std::end(kWantedOptions)}};
  if (TryOnce(method)) return method;
  method.options.clear();
  TRY_IN("overlay on this kernel", TryOnce(method));
  for (const char* option : kWantedOptions) {
    if (TryOnce(OverlayMethod{assembly, {option}})) method.options.emplace_back(option);
  }
  return method;
}

Result<OverlayMethod> FindOverlayMethod() {
  if (Result<OverlayMethod> method = FindOverlayMethod(OverlayAssembly::kByDescriptor)) return method;
  return FindOverlayMethod(OverlayAssembly::kAttached);
}

Result<Fd> AssembleOverlay(const OverlayMethod& method, std::span<const Fd> layers_top_first, int upper) {
  if (layers_top_first.empty()) return Fail(ErrorCode::kInvalid, "a root file system without a layer");
  return method.assembly == OverlayAssembly::kByDescriptor ? AssembleByDescriptor(method, layers_top_first, upper)
                                                           : AssembleAttached(method, layers_top_first, upper);
}

}  // namespace caisson::sandbox
