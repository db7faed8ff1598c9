// SPDX-License-Identifier: Apache-2.0
#include "base/http/http_client.h"

#include <curl/curl.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <mutex>

#include "base/check.h"
#include "base/encoding.h"

namespace caisson {
namespace {

constexpr size_t kMaxHeaderBytes = 64 << 10;  // of one response: more is an attack

// What libcurl's callbacks see during one transfer.
struct Transfer {
  const HttpRequest& request;
  CURL* curl;
  HttpResponse response;
  size_t header_bytes = 0;
  bool headers_shown = false;
  bool headers_ended = false;
  bool address_refused = false;
  AddressReach tried = AddressReach::kNobody;  // of the last address that a new connection was to go to
  std::string content_length;
  std::optional<Error> error;
  curl_off_t bytes_seen = 0;  // at the last look of OnProgress
  std::chrono::steady_clock::time_point last_news = std::chrono::steady_clock::now();

  HttpFault fault = HttpFault::kStopped;  // where there is an error

  void StartAnswer() {
    response.headers.clear();
    content_length.clear();
    headers_ended = false;
  }
  size_t Stop(Error reason, HttpFault why = HttpFault::kStopped) {
    error = std::move(reason);
    fault = why;
    return 0;  // fewer bytes than offered: libcurl ends the transfer
  }
};

size_t OnBody(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  long status = 0;
  curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &status);
  const bool success = status >= 200 && status < 300;
  if (success && transfer.request.on_headers && !transfer.headers_shown) {
    transfer.headers_shown = true;
    transfer.response.status = static_cast<int>(status);
    Result<void> accepted = transfer.request.on_headers(transfer.response);
    if (!accepted) return transfer.Stop(std::move(accepted).error());
  }
  if (transfer.request.on_body && success) {
    Result<void> taken = transfer.request.on_body({data, size});
    return taken ? size : transfer.Stop(std::move(taken).error());
  }
  std::string& body = transfer.response.body;
  if (body.size() + size > transfer.request.max_body_bytes)
    return transfer.Stop(
        {ErrorCode::kTooLarge, fmt::format("answer is larger than {} bytes", transfer.request.max_body_bytes), 0});
  body.append(data, size);
  return size;
}

size_t OnRead(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  Result<size_t> got = transfer.request.read_body(std::span(data, size));
  if (got) return *got;
  transfer.error = std::move(got).error();
  return CURL_READFUNC_ABORT;
}

size_t OnHeader(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.header_bytes += size;
  if (transfer.header_bytes > kMaxHeaderBytes)
    return transfer.Stop(
        {ErrorCode::kTooLarge, fmt::format("answer has more than {} bytes of headers", kMaxHeaderBytes), 0});
  std::string_view line(data, size);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (line.empty()) transfer.headers_ended = true;
  if (line.starts_with("HTTP/")) transfer.StartAnswer();  // again after 100 Continue
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  // Two lengths of one body: whoever reads the connection may see other bytes than the next one does.
  if (name == "content-length" && !transfer.content_length.empty() && transfer.content_length != value)
    return transfer.Stop({ErrorCode::kUnavailable, "answer has two Content-Length headers that differ", 0},
                         HttpFault::kBroken);
  if (name == "content-length") transfer.content_length = value;
  transfer.response.headers.emplace_back(std::move(name), value);
  return size;
}

// Runs about once a second, also while nothing comes. Not 0 ends the transfer.
int OnProgress(void* user, curl_off_t, curl_off_t downloaded, curl_off_t, curl_off_t uploaded) {
  auto& transfer = *static_cast<Transfer*>(user);
  const HttpRequest& request = transfer.request;
  const auto now = std::chrono::steady_clock::now();
  if (downloaded + uploaded != transfer.bytes_seen) {
    transfer.bytes_seen = downloaded + uploaded;
    transfer.last_news = now;
  }
  if (request.cancelled && request.cancelled->load()) {
    transfer.error = Error{ErrorCode::kCancelled, "cancelled", 0};
  } else if (request.silence_timeout.count() > 0 && now - transfer.last_news > request.silence_timeout) {
    transfer.Stop(
        {ErrorCode::kUnavailable, fmt::format("nothing came for {} seconds", request.silence_timeout.count()), 0},
        HttpFault::kTimedOut);
  }
  return transfer.error ? 1 : 0;
}

// In place of libcurl's own socket(): sees the very address that will be connected to.
curl_socket_t OpenSocket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.tried = ReachFromHere(address->addr);
  if (!transfer.request.may_connect(transfer.tried)) {
    transfer.address_refused = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

struct HeaderList {
  curl_slist* head = nullptr;
  HeaderList() = default;
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  ~HeaderList() { curl_slist_free_all(head); }
  void Add(const std::string& line) {
    curl_slist* longer = curl_slist_append(head, line.c_str());
    CHECK(longer);
    head = longer;
  }
};

void SetMethod(CURL* curl, const HttpRequest& request, Transfer& transfer) {
  if (request.read_body) {
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, OnRead);
    curl_easy_setopt(curl, CURLOPT_READDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body_bytes));
  } else if (request.body) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body->data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body->size()));
  }
  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else {
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
}

void SetOptions(CURL* curl, const HttpRequest& request, Transfer& transfer, char* error_text) {
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");  // never file:, ftp:, gopher:
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "caisson");
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));  // where it is offered
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, static_cast<long>(request.total_timeout.count()));
  if (request.stall_timeout.count() > 0) {
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1000L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall_timeout.count()));
  }
  if (!request.unix_socket.empty()) {
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
  }
  if (request.may_connect) {
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, OpenSocket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, &transfer);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
  }
  if (!request.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, request.ca_file.c_str());
  if (!request.client_cert.empty()) {
    const std::string& key = request.client_key.empty() ? request.client_cert : request.client_key;
    curl_easy_setopt(curl, CURLOPT_SSLCERT, request.client_cert.c_str());
    curl_easy_setopt(curl, CURLOPT_SSLKEY, key.c_str());
  }
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_text);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

// libcurl has one code for most failures of TLS; OpenSSL's words tell them apart.
HttpFault TlsFaultOf(CURL* curl, CURLcode code, std::string_view text) {
  const auto says = [text](std::string_view words) { return text.find(words) != std::string_view::npos; };
  if (code == CURLE_PEER_FAILED_VERIFICATION) {
    long verdict = 0;
    curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &verdict);
    if (verdict == X509_V_ERR_CERT_HAS_EXPIRED) return HttpFault::kCertificateExpired;
    return says("subject name") ? HttpFault::kCertificateHost : HttpFault::kCertificateUntrusted;
  }
  if (says("certificate required") || says("alert bad certificate") || says("alert handshake failure"))
    return HttpFault::kClientCertificateWanted;
  if (says("wrong version number") || says("packet length too long") || says("record layer failure"))
    return HttpFault::kNotTls;
  if (says("unsupported protocol") || says("alert protocol version")) return HttpFault::kTlsTooOld;
  return HttpFault::kBroken;
}

HttpFault FaultOf(CURL* curl, CURLcode code, const Transfer& transfer, std::string_view text) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST: return HttpFault::kName;
    case CURLE_COULDNT_CONNECT: return transfer.address_refused ? HttpFault::kAddress : HttpFault::kConnect;
    case CURLE_OPERATION_TIMEDOUT: return HttpFault::kTimedOut;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY: return HttpFault::kNotHttp;
    case CURLE_SSL_CACERT_BADFILE: return HttpFault::kCaFile;
    case CURLE_SSL_CERTPROBLEM: return HttpFault::kClientCertificate;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_RECV_ERROR: return TlsFaultOf(curl, code, text);  // TLS 1.3 asks for a client's certificate late
    default: return HttpFault::kBroken;
  }
}

Error ErrorOf(CURL* curl, CURLcode code, const char* error_text) {
  const bool bad_url = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;
  long connect_errno = 0;
  if (code == CURLE_COULDNT_CONNECT) curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &connect_errno);
  return Error{bad_url ? ErrorCode::kInvalid : ErrorCode::kUnavailable,
               EscapeForLog(error_text[0] ? error_text : curl_easy_strerror(code), 300),
               static_cast<int>(connect_errno)};
}

}  // namespace

std::string_view HttpResponse::Header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

struct HttpClient::Handle {
  CURL* curl = nullptr;
  Handle() {
    static std::once_flag initialised;
    std::call_once(initialised, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    curl = curl_easy_init();
    CHECK(curl);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { curl_easy_cleanup(curl); }
};

HttpClient::HttpClient() : handle_(std::make_unique<Handle>()) {}
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;
HttpClient::~HttpClient() = default;

Result<HttpResponse> HttpClient::Perform(const HttpRequest& request) {
  CURL* curl = handle_->curl;
  curl_easy_reset(curl);  // keeps the connections
  Transfer transfer{request, curl};
  char error_text[CURL_ERROR_SIZE] = "";
  SetOptions(curl, request, transfer, error_text);
  SetMethod(curl, request, transfer);
  HeaderList headers;
  for (const auto& [name, value] : request.headers) headers.Add(name + ": " + value);
  headers.Add("Expect:");  // no pause before a body
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.head);

  HeaderList resolve;
  for (const std::string& entry : request.resolve) resolve.Add(entry);
  curl_easy_setopt(curl, CURLOPT_RESOLVE, resolve.head);

  const CURLcode code = curl_easy_perform(curl);
  fault_ = transfer.error ? transfer.fault : HttpFault::kNone;
  tried_ = transfer.tried;
  if (transfer.error) return tl::unexpected(std::move(*transfer.error));
  if (code != CURLE_OK) {
    Error error = ErrorOf(curl, code, error_text);
    fault_ = FaultOf(curl, code, transfer, error.message);
    return tl::unexpected(std::move(error));
  }
  if (!transfer.headers_ended) {
    fault_ = HttpFault::kBroken;
    return Fail(ErrorCode::kUnavailable, "the connection ended within the headers");
  }
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  transfer.response.status = static_cast<int>(status);
  char* peer = nullptr;
  if (request.may_connect && curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &peer) == CURLE_OK && peer)
    transfer.response.reach = ReachFromHere(std::string(peer));
  return std::move(transfer.response);
}

}  // namespace caisson
