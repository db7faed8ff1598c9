// SPDX-License-Identifier: Apache-2.0
// Images: what the API shows of the image cache, to each tenant its own. The cache is one for all tenants; the job
// store knows who had a right to what. Owned by the service's main; safe on any thread.
#pragma once

#include <string>
#include <vector>

#include "api/ports.h"
#include "image/image_store.h"
#include "queue/store.h"

namespace caisson::daemon {

class Images final : public api::ImagesPort {
 public:
  Images(image::ImageStore& images, queue::JobStore& jobs) : images_(images), jobs_(jobs) {}
  Result<std::vector<api::ImageSummary>> ListImages(queue::TenantId tenant) override;
  Result<std::string> NormaliseReference(const std::string& text) override;

 private:
  image::ImageStore& images_;
  queue::JobStore& jobs_;
};

}  // namespace caisson::daemon
