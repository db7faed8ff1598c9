// SPDX-License-Identifier: Apache-2.0
#include "image/admission.h"

#include <set>

#include "image/signature.h"

namespace caisson::image {

Result<void> Admission::CheckAllowed(const std::string& tenant, const std::string& repository) const {
  return policy_ ? policy_->CheckAllowed(tenant, repository) : Result<void>();
}

Result<void> Admission::CheckSigned(const Reference& reference, const Digest& top, const Digest& manifest,
                                    const PullContext& context) const {
  const std::string repository = reference.repository();
  const SignatureRule* rule = policy_ ? policy_->RuleFor(repository) : nullptr;
  if (!rule) return {};
  const std::string fingerprint = rule->Fingerprint();
  const std::set<Digest> digests{top, manifest};
  for (const Digest& digest : digests)
    if (TRY(records_.WasSigned(digest, repository, fingerprint))) return {};
  RegistryClient registry = make_client_(reference, context);
  const SignatureVerdict verdict = TRY(CheckSignature(registry, top, manifest, *rule));
  // The manifest is what runs. An index counts only when it was signed itself: what else it names was not looked at.
  const std::lock_guard lock(marks_);
  for (const Digest& digest : {verdict.signed_digest, manifest})
    TRY(records_.PutSigned(digest, repository, fingerprint));
  return {};
}

Result<SignatureState> Admission::StateOf(const std::string& repository, const ImageRecord& image) const {
  const SignatureRule* rule = policy_ ? policy_->RuleFor(repository) : nullptr;
  if (!rule) return SignatureState::kNotRequired;
  for (const Digest& digest : {image.manifest, image.index})
    if (TRY(records_.WasSigned(digest, repository, rule->Fingerprint()))) return SignatureState::kVerified;
  return SignatureState::kUnverified;
}

Result<void> Admission::CheckImport(const Reference& reference) const {
  if (!policy_ || !policy_->RuleFor(reference.repository())) return {};
  return Fail(ErrorCode::kDenied,
              "import as {}: images of that name have to be signed here, and an import brings no signature: give it "
              "another name",
              reference.ToString());
}

}  // namespace caisson::image
