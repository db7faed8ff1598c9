// SPDX-License-Identifier: Apache-2.0
// FakeImageStore: an ImageStore of which a test overrides what it needs; the rest answers that nobody expected it.
#pragma once

#include "image/image_store.h"

namespace caisson::testing {

class FakeImageStore : public image::ImageStore {
 public:
  Result<image::ResolvedReference> Resolve(const std::string&, image::PullPolicy, const image::PullContext&) override {
    return NotExpected("Resolve");
  }
  Result<image::ImageRecord> Pull(const image::ResolvedReference&, bool, const image::PullContext&) override {
    return NotExpected("Pull");
  }
  Result<std::vector<image::ImageRecord>> List() override { return NotExpected("List"); }
  Result<std::optional<image::ImageRecord>> Find(const Digest&) override { return NotExpected("Find"); }
  Result<std::optional<image::RememberedTag>> FindTag(const std::string&, const std::string&) override {
    return NotExpected("FindTag");
  }
  Result<std::vector<std::pair<std::string, Digest>>> Names(const std::string&) override {
    return NotExpected("Names");
  }
  Result<void> ForgetTags(const std::string&, const std::vector<Digest>&) override { return NotExpected("ForgetTags"); }
  Result<image::SignatureState> Signature(const image::ImageRecord&, const std::string&) override {
    return image::SignatureState::kNotRequired;
  }
  Result<image::CollectReport> Remove(const Digest&) override { return NotExpected("Remove"); }
  Result<image::CollectReport> Collect(const image::CollectOptions&) override { return NotExpected("Collect"); }
  Result<image::ImageVerdict> Verify(const Digest&, const image::PullContext&) override {
    return NotExpected("Verify");
  }
  Result<image::ImageVerdict> Repair(const Digest&, const std::string&, const image::PullContext&) override {
    return NotExpected("Repair");
  }
  Result<void> Export(const Digest&, const Sink&, const std::atomic<bool>*) override { return NotExpected("Export"); }
  Result<std::unique_ptr<image::BlobUpload>> StartUpload(const std::string&, const Digest&) override {
    return NotExpected("StartUpload");
  }
  Result<bool> HasUpload(const std::string&, const Digest&) override { return NotExpected("HasUpload"); }
  Result<std::vector<Digest>> MissingBlobs(const image::ImportRequest&) override { return NotExpected("MissingBlobs"); }
  Result<image::ImageRecord> Import(const image::ImportRequest&, const image::PullContext&) override {
    return NotExpected("Import");
  }

 protected:
  static tl::unexpected<Error> NotExpected(std::string_view what) {
    return Fail(ErrorCode::kInternal, "{} was not expected", what);
  }
};

}  // namespace caisson::testing
