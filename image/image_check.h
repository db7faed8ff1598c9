// SPDX-License-Identifier: Apache-2.0
// Verification of a stored image: each layer's tree, as the disk has it now, against the checksum that was recorded
// when it was made. Workers read the trees; what a worker says spoils at most the verdict on its own layer. Safe on any
// thread.
#pragma once

#include "base/result.h"
#include "image/image_store.h"
#include "image/layer_pins.h"
#include "image/records.h"
#include "image/store_port.h"

namespace caisson::image {

// Pins the image's layers while it reads them.
Result<ImageVerdict> VerifyImage(StorePort& store, const Records& records, LayerPins& pins, const ImageRecord& image,
                                 const PullContext& context);

// The merged root of the image as a tar stream.
Result<void> ExportImage(StorePort& store, const Records& records, LayerPins& pins, const ImageRecord& image,
                         const ImageStore::Sink& sink, const std::atomic<bool>* cancelled);

}  // namespace caisson::image
