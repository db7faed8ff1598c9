// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/layer_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/io.h"
#include "sandbox/launcher/open_beneath.h"

namespace caisson::sandbox {

std::vector<int> Rootfs::directories() const {
  std::vector<int> directories;
  for (const auto& layer : layers_top_first) directories.push_back(layer->directory.get());
  return directories;
}

LayerStore::LayerStore(int layers_dir, int tmp_dir, std::string run)
    : layers_dir_(layers_dir), tmp_dir_(tmp_dir), run_(std::move(run)) {}

Result<std::shared_ptr<const OpenLayer>> LayerStore::Open(const LayerName& name) {
  if (leaving_.contains(name)) return Fail(ErrorCode::kNotFound, "layer {} is being removed", name.hex());
  std::weak_ptr<const OpenLayer>& known = open_[name];
  if (auto layer = known.lock()) return layer;
  Result<Fd> directory = OpenBeneath(layers_dir_, name.hex(), O_PATH | O_DIRECTORY);
  if (!directory) {
    open_.erase(name);
    return tl::unexpected(std::move(directory).error().Context("layer store"));
  }
  auto layer = std::make_shared<const OpenLayer>(OpenLayer{name, std::move(*directory)});
  known = layer;
  return layer;
}

Result<Rootfs> LayerStore::OpenRootfs(std::span<const LayerName> layers_top_first) {
  std::erase_if(open_, [](const auto& entry) { return entry.second.expired(); });
  Rootfs rootfs;
  for (const LayerName& name : layers_top_first) rootfs.layers_top_first.push_back(TRY(Open(name)));
  return rootfs;
}

bool LayerStore::InUse(const LayerName& name) const {
  const auto found = open_.find(name);
  return found != open_.end() && !found->second.expired();
}

Result<void> LayerStore::BeginRemoval(const LayerName& name) {
  if (InUse(name)) return Fail(ErrorCode::kConflict, "layer {} is in use", name.hex());
  if (!leaving_.insert(name).second) return Fail(ErrorCode::kConflict, "layer {} is being removed", name.hex());
  return {};
}

void LayerStore::EndRemoval(const LayerName& name) { leaving_.erase(name); }

std::string LayerStore::NewName() { return run_ + "-" + std::to_string(++names_); }

Result<LayerStore::WorkDirectory> LayerStore::MakeWorkDirectory() {
  const std::string name = NewName();
  if (::mkdirat(tmp_dir_, name.c_str(), 0700) != 0) return FailErrno(errno, "make directory tmp/{}", name);
  return WorkDirectory{name, TRY(OpenWorkDirectory(name))};
}

Result<Fd> LayerStore::OpenWorkDirectory(const std::string& name) const {
  return OpenBeneath(tmp_dir_, name, O_RDONLY | O_DIRECTORY);
}

}  // namespace caisson::sandbox
