// SPDX-License-Identifier: Apache-2.0
#include "api/openapi_document.h"

// The assembler puts the file into the read-only data; it is found by the include path (the repository's root).
asm(R"(
.section .rodata
.global caisson_openapi_begin
.global caisson_openapi_end
caisson_openapi_begin:
.incbin "api/openapi.yaml"
caisson_openapi_end:
.previous
)");

extern "C" {
extern const char caisson_openapi_begin[];
extern const char caisson_openapi_end[];
}

namespace caisson::api {

std::string_view OpenApiDocument() {
  return {caisson_openapi_begin, static_cast<size_t>(caisson_openapi_end - caisson_openapi_begin)};
}

}  // namespace caisson::api
