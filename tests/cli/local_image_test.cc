// SPDX-License-Identifier: Apache-2.0
// Images in directories and archives on this side: which one is meant, what is not whole, and that no name in an
// archive reaches a file of the user's.
#include "cli/local_image.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "base/json/json.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::cli {
namespace {

using ::testing::HasSubstr;

struct Entry {
  std::string name;
  std::string bytes;  // or, of a link:
  std::string link;   // its target
  bool hard = false;
};

// Writes a tar archive; `filter` is "", "gzip" or "zstd".
void WriteArchive(const std::string& path, const std::vector<Entry>& entries, const std::string& filter = "") {
  archive* writer = archive_write_new();
  archive_write_set_format_pax_restricted(writer);
  if (!filter.empty()) {
    ASSERT_EQ(archive_write_add_filter_by_name(writer, filter.c_str()), ARCHIVE_OK);
  }
  ASSERT_EQ(archive_write_open_filename(writer, path.c_str()), ARCHIVE_OK);
  for (const Entry& entry : entries) {
    archive_entry* header = archive_entry_new();
    archive_entry_set_pathname(header, entry.name.c_str());
    archive_entry_set_perm(header, 0644);
    archive_entry_set_filetype(header, entry.link.empty() || entry.hard ? AE_IFREG : AE_IFLNK);
    if (!entry.link.empty() && entry.hard) archive_entry_set_hardlink(header, entry.link.c_str());
    if (!entry.link.empty() && !entry.hard) archive_entry_set_symlink(header, entry.link.c_str());
    archive_entry_set_size(header, static_cast<la_int64_t>(entry.bytes.size()));
    ASSERT_EQ(archive_write_header(writer, header), ARCHIVE_OK);
    archive_write_data(writer, entry.bytes.data(), entry.bytes.size());
    archive_entry_free(header);
  }
  ASSERT_EQ(archive_write_free(writer), ARCHIVE_OK);
}

std::string DigestOf(const std::string& bytes) { return Sha256Of(bytes).ToString(); }
std::string BlobName(const std::string& bytes) { return "blobs/sha256/" + Sha256Of(bytes).hex(); }

class LocalImageTest : public ::testing::Test {
 protected:
  Result<LocalImage> Find(const std::string& path, const std::string& ref = "") {
    auto files = OpenLocalFiles(path, directory_.path());
    if (!files) return tl::unexpected(files.error());
    files_ = *std::move(files);
    return FindLocalImage(*files_, ref, "amd64");
  }
  std::string Why(const std::string& path, const std::string& ref = "") {
    const auto image = Find(path, ref);
    return image ? "nothing" : image.error().message;
  }
  std::string Bytes(const LocalBlob& blob) { return *ReadSmall(*files_, blob.file, 1 << 20); }
  std::string archive() const { return directory_.file("image.tar"); }

  testing::TemporaryDirectory directory_;
  std::unique_ptr<LocalFiles> files_;
};

std::string ManifestOf(const std::string& layer) {
  return R"({"schemaVersion":2,"config":{"digest":")" + DigestOf("{}") + R"("},"layers":[{"digest":")" +
         DigestOf(layer) + R"("},{"digest":")" + DigestOf(layer) + R"("}]})";
}

// A layout of one image per name.
std::vector<Entry> Layout(const std::vector<std::pair<std::string, std::string>>& names_and_layers) {
  std::vector<Entry> entries{{"oci-layout", "{}"}, {BlobName("{}"), "{}"}};
  std::string list;
  for (const auto& [name, layer] : names_and_layers) {
    entries.push_back({BlobName(layer), layer});
    entries.push_back({BlobName(ManifestOf(layer)), ManifestOf(layer)});
    list += (list.empty() ? "" : ",") + (R"({"digest":")" + DigestOf(ManifestOf(layer)) +
                                         R"(","annotations":{"org.opencontainers.image.ref.name":")" + name + R"("}})");
  }
  entries.push_back({"index.json", R"({"manifests":[)" + list + "]}"});
  return entries;
}

TEST_F(LocalImageTest, ArchivesOfEveryPackingAreRead) {
  for (const char* filter : {"", "gzip", "zstd"}) {
    WriteArchive(archive(), Layout({{"acme/tool:1", "layer"}}), filter);
    const auto image = Find(archive());
    ASSERT_TRUE(image) << filter << image.error().message;
    EXPECT_EQ(image->name, "acme/tool:1");
    EXPECT_EQ(image->manifest, ManifestOf("layer"));
    ASSERT_EQ(image->blobs.size(), 2U);  // the layer that is there twice counts once
    EXPECT_EQ(Bytes(image->blobs[0]), "{}");
    EXPECT_EQ(Bytes(image->blobs[1]), "layer");
    EXPECT_EQ(image->blobs[1].bytes, 5U);
  }
}

TEST_F(LocalImageTest, OfSeveralImagesOneMustBeChosen) {
  WriteArchive(archive(), Layout({{"acme/tool:1", "one"}, {"acme/tool:2", "two"}}));
  EXPECT_THAT(Why(archive()), HasSubstr("choose one with --ref; there are: acme/tool:1, acme/tool:2"));
  EXPECT_EQ(Find(archive(), "2")->manifest, ManifestOf("two"));
  EXPECT_EQ(Find(archive(), "acme/tool:1")->manifest, ManifestOf("one"));
  EXPECT_THAT(Why(archive(), "3"), HasSubstr("no image in it is called 3"));
}

TEST_F(LocalImageTest, ATagAloneIsNoName) {
  WriteArchive(archive(), Layout({{"latest", "layer"}}));
  EXPECT_EQ(Find(archive(), "latest")->name, "");
}

TEST_F(LocalImageTest, AnIndexLeadsToThisPlatform) {
  const std::string arm = ManifestOf("arm"), amd = ManifestOf("amd");
  const std::string index = R"({"manifests":[{"digest":")" + DigestOf(arm) +
                            R"(","platform":{"os":"linux","architecture":"arm64"}},{"digest":")" + DigestOf(amd) +
                            R"(","platform":{"os":"linux","architecture":"amd64"}}]})";
  std::vector<Entry> entries{
      {"oci-layout", "{}"},     {BlobName("{}"), "{}"},
      {BlobName("amd"), "amd"}, {BlobName(amd), amd},
      {BlobName(index), index}, {"index.json", R"({"manifests":[{"digest":")" + DigestOf(index) + R"("}]})"}};
  WriteArchive(archive(), entries);
  const auto image = Find(archive());
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->manifest, amd);
  auto files = OpenLocalFiles(archive(), directory_.path());
  EXPECT_THAT(FindLocalImage(**files, "", "riscv64").error().message,
              HasSubstr("no image for linux/riscv64; it has: linux/arm64, linux/amd64"));
}

TEST_F(LocalImageTest, WhatIsNotWholeOrNotWhatItSaysIsRefused) {
  std::vector<Entry> entries = Layout({{"a:1", "layer"}});
  std::erase_if(entries, [](const Entry& entry) { return entry.name == BlobName("layer"); });
  WriteArchive(archive(), entries);
  EXPECT_THAT(Why(archive()), HasSubstr("lacks the blob " + DigestOf("layer")));

  entries = Layout({{"a:1", "layer"}});
  for (Entry& entry : entries)
    if (entry.name == BlobName(ManifestOf("layer"))) entry.bytes = ManifestOf("other");
  WriteArchive(archive(), entries);
  EXPECT_THAT(Why(archive()), HasSubstr("other bytes than its name says"));

  WriteArchive(archive(), Layout({{"a:1", std::string(1'000'000, 'x')}}));
  std::filesystem::resize_file(archive(), 500'000);
  EXPECT_THAT(Why(archive()), HasSubstr("damaged or cut off"));

  WriteArchive(archive(), {{"readme", "hello"}});
  EXPECT_THAT(Why(archive()), HasSubstr("neither an OCI image layout"));
}

// What `docker save` wrote for years: layers by id, those that are shared as links to where they came first.
TEST_F(LocalImageTest, ASavedImageBecomesAnOciManifest) {
  const std::string config = R"({"rootfs":{}})";
  WriteArchive(archive(),
               {{"abc.json", config},
                {"one/layer.tar", "first"},
                {"two/layer.tar", "", "../one/layer.tar"},
                {"three/layer.tar", "\x1f\x8bpacked"},
                {"four/layer.tar", "", "one/layer.tar", true},
                {"manifest.json", R"([{"Config":"abc.json","RepoTags":["acme/tool:1","acme/tool:latest"],"Layers":[)"
                                  R"("one/layer.tar","two/layer.tar","three/layer.tar","four/layer.tar"]}])"}});
  const auto image = Find(archive(), "latest");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->name, "acme/tool:latest");
  ASSERT_EQ(image->blobs.size(), 3U);
  EXPECT_EQ(Bytes(image->blobs[0]), config);
  EXPECT_EQ(Bytes(image->blobs[1]), "first");
  const Json manifest = *ParseJson(image->manifest);
  EXPECT_EQ(manifest.Find("config")->StringOr("digest", ""), DigestOf(config));
  const Json::Array& layers = manifest.ArrayOrEmpty("layers");
  ASSERT_EQ(layers.size(), 4U);
  for (const int same : {0, 1, 3}) {
    EXPECT_EQ(layers[same].StringOr("digest", ""), DigestOf("first"));
    EXPECT_EQ(layers[same].StringOr("mediaType", ""), "application/vnd.oci.image.layer.v1.tar");
    EXPECT_EQ(layers[same].IntOr("size", 0), 5);
  }
  EXPECT_EQ(layers[2].StringOr("mediaType", ""), "application/vnd.oci.image.layer.v1.tar+gzip");
  EXPECT_EQ(Find(archive())->name, "acme/tool:1");
}

TEST_F(LocalImageTest, NoNameInAnArchiveReachesTheUsersFiles) {
  const std::string secret = directory_.file("secret");
  ASSERT_TRUE(WriteFileDurably(AT_FDCWD, secret, "secret", 0600));
  for (const std::string& name : {secret, "../" + secret.substr(1), std::string("link")}) {
    WriteArchive(archive(), {{"link", "", secret},
                             {"../escaped", "x"},
                             {"/tmp/caisson-absolute", "x"},
                             {"c.json", "{}"},
                             {"manifest.json", R"([{"Config":"c.json","Layers":[")" + name + R"("]}])"}});
    EXPECT_THAT(Why(archive()), HasSubstr("a layer of the image")) << name;
  }
  EXPECT_FALSE(std::filesystem::exists("/tmp/caisson-absolute"));
  EXPECT_FALSE(std::filesystem::exists(directory_.file("escaped")));

  // A link in a directory that somebody else made leads nowhere either.
  const std::string layout = directory_.file("layout");
  ASSERT_TRUE(MakeDirectories(layout, 0700));
  ASSERT_EQ(symlink(secret.c_str(), (layout + "/manifest.json").c_str()), 0);
  EXPECT_THAT(Why(layout), HasSubstr("neither an OCI image layout"));
}

TEST_F(LocalImageTest, LinksThatGoRoundAreNoFile) {
  WriteArchive(archive(), {{"a", "", "b"}, {"b", "", "a"}, {"manifest.json", "", "a"}});
  EXPECT_THAT(Why(archive()), HasSubstr("neither an OCI image layout"));
}

TEST_F(LocalImageTest, TemporaryFilesAreGoneAfterwards) {
  WriteArchive(archive(), Layout({{"a:1", "layer"}}));
  ASSERT_TRUE(Find(archive()));
  EXPECT_GT(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);
  files_.reset();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);
}

TEST(NormalNameTest, NothingLeavesTheArchive) {
  EXPECT_EQ(NormalName("./a/../b//c/"), "b/c");
  EXPECT_EQ(NormalName("a"), "a");
  for (const char* name : {"", "/", "/etc/passwd", "..", "a/../..", "../a", "./"})
    EXPECT_EQ(NormalName(name), "") << name;
}

}  // namespace
}  // namespace caisson::cli
