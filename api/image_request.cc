// SPDX-License-Identifier: Apache-2.0
#include "api/image_request.h"

#include "api/fields.h"

namespace caisson::api {
namespace {

// A member that is true or false.
template <typename T, bool T::*kMember>
void ReadFlag(const Json& json, const std::string& pointer, T& target, FieldErrors& errors) {
  const bool* value = json.AsBool();
  if (!value) return errors.Add(pointer, "must be true or false");
  target.*kMember = *value;
}

// The member `reference`; whether it is a name of an image is for the port to say.
template <typename T>
void ReadReference(const Json& json, const std::string& pointer, T& target, FieldErrors& errors) {
  if (auto text = ReadString(json, pointer, {kMaxReferenceBytes, false, true}, errors))
    target.reference = std::move(*text);
}

template <typename T, size_t kCount>
tl::expected<T, std::vector<FieldError>> ReadAll(const Json& body, const Field<T> (&fields)[kCount],
                                                 void (*check)(const T&, FieldErrors&)) {
  T target;
  FieldErrors errors;
  ReadObject(body, "", fields, target, errors);
  if (errors.empty() && check) check(target, errors);
  if (!errors.empty()) return tl::unexpected(std::move(errors).Take());
  return target;
}

}  // namespace

std::optional<PullPolicy> ParsePullPolicy(std::string_view text) {
  if (text == "always") return PullPolicy::kAlways;
  if (text == "if-missing") return PullPolicy::kIfMissing;
  if (text == "never") return PullPolicy::kNever;
  return std::nullopt;
}

tl::expected<PullRequest, std::vector<FieldError>> ParsePullRequest(const Json& body) {
  static constexpr Field<PullRequest> kFields[] = {
      {"reference", ReadReference<PullRequest>},
      {"policy", [](const Json& json, const std::string& pointer, PullRequest& request, FieldErrors& errors) {
         const std::string* text = json.AsString();
         const auto policy = text ? ParsePullPolicy(*text) : std::nullopt;
         if (!policy) return errors.Add(pointer, fmt::format("must be one of {}", kPullPolicies));
         request.policy = *policy;
       }}};
  return ReadAll<PullRequest>(body, kFields, [](const PullRequest& request, FieldErrors& errors) {
    if (request.reference.empty()) errors.Add("/reference", "is missing");
  });
}

tl::expected<VerifyRequest, std::vector<FieldError>> ParseVerifyRequest(const Json& body) {
  static constexpr Field<VerifyRequest> kFields[] = {{"repair", ReadFlag<VerifyRequest, &VerifyRequest::repair>}};
  return ReadAll<VerifyRequest>(body, kFields, nullptr);
}

tl::expected<CollectRequest, std::vector<FieldError>> ParseCollectRequest(const Json& body) {
  static constexpr Field<CollectRequest> kFields[] = {{"all", ReadFlag<CollectRequest, &CollectRequest::all>}};
  return ReadAll<CollectRequest>(body, kFields, nullptr);
}

tl::expected<ImportRequest, std::vector<FieldError>> ParseImportRequest(const Json& body) {
  static constexpr Field<ImportRequest> kFields[] = {
      {"reference", ReadReference<ImportRequest>},
      {"manifest", [](const Json& json, const std::string& pointer, ImportRequest& request, FieldErrors& errors) {
         if (auto text = ReadString(json, pointer, {kMaxManifestBytes}, errors)) request.manifest = std::move(*text);
       }}};
  return ReadAll<ImportRequest>(body, kFields, [](const ImportRequest& request, FieldErrors& errors) {
    if (request.reference.empty()) errors.Add("/reference", "is missing");
    if (request.manifest.empty()) errors.Add("/manifest", "is missing: the manifest's text");
  });
}

tl::expected<RegistryCredential, std::vector<FieldError>> ParseRegistryCredential(const Json& body) {
  static constexpr Field<RegistryCredential> kFields[] = {
      {"username",
       [](const Json& json, const std::string& pointer, RegistryCredential& credential, FieldErrors& errors) {
         auto text = ReadString(json, pointer, {kMaxCredentialBytes, true, true}, errors);
         if (!text) return;
         // Basic authentication has no way to write it (RFC 7617).
         if (text->find(':') != std::string::npos) return errors.Add(pointer, "must not have a colon");
         credential.username = std::move(*text);
       }},
      {"password",
       [](const Json& json, const std::string& pointer, RegistryCredential& credential, FieldErrors& errors) {
         if (auto text = ReadString(json, pointer, {kMaxCredentialBytes, false, true}, errors))
           credential.password = Secret(std::move(*text));
       }},
      {"identity_token",
       [](const Json& json, const std::string& pointer, RegistryCredential& credential, FieldErrors& errors) {
         if (auto text = ReadString(json, pointer, {kMaxCredentialBytes, false, true}, errors))
           credential.identity_token = Secret(std::move(*text));
       }}};
  return ReadAll<RegistryCredential>(body, kFields, [](const RegistryCredential& credential, FieldErrors& errors) {
    if (credential.password.empty() == credential.identity_token.empty())
      return errors.Add("", "needs a password or an identity_token, and not both");
    if (!credential.password.empty() && credential.username.empty()) errors.Add("/username", "is missing");
  });
}

}  // namespace caisson::api
