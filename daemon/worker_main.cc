// SPDX-License-Identifier: Apache-2.0
// caisson-worker: see image/worker/worker.h.
#include "image/worker/worker.h"

int main(int argc, char** argv) { return caisson::image::RunWorker(argc, argv); }
