#include "proxy/registry/manifest.h"

#include <fmt/core.h>

#include <string>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {
const std::string kDigest = "sha256:" + std::string(64, 'a');
const std::string kItem = R"({"digest":")" + kDigest +
                          R"(","size":7,"mediaType":"application/x","urls":["http://169.254.169.254/"]})";

std::string manifest(const std::string& media_type) {
  const std::string said = media_type.empty() ? "" : R"("mediaType":")" + media_type + R"(",)";
  return R"({"schemaVersion":2,)" + said + R"("config":)" + kItem + R"(,"layers":[)" + kItem + "," + kItem +
         "]}";
}
std::string index(const std::string& media_type) {
  const std::string said = media_type.empty() ? "" : R"("mediaType":")" + media_type + R"(",)";
  return R"({"schemaVersion":2,)" + said + R"("manifests":[)" + kItem + "]}";
}
std::string diagnosis(const std::string& bytes, std::string_view type) {
  const auto parsed = parse_manifest(bytes, type);
  return parsed ? "fine: " + parsed->media_type : parsed.error().diagnosis;
}
}  // namespace

TEST_CASE("a manifest lists its config and layers") {
  const auto parsed = parse_manifest(manifest(std::string(kOciManifest)), kOciManifest);
  REQUIRE(parsed);
  CHECK_FALSE(parsed->is_index);
  REQUIRE(parsed->descriptors.size() == 3);
  CHECK(parsed->descriptors[0].role == DescriptorRole::config);
  CHECK(parsed->descriptors[1].role == DescriptorRole::layer);
  CHECK(parsed->descriptors[1].digest.str() == kDigest);
  CHECK(parsed->descriptors[1].size == 7);
  CHECK(parsed->descriptors[1].media_type == "application/x");
}

TEST_CASE("an index lists its children") {
  const auto parsed = parse_manifest(index(""), kDockerList);
  REQUIRE(parsed);
  CHECK(parsed->is_index);
  CHECK(parsed->media_type == kDockerList);
  REQUIRE(parsed->descriptors.size() == 1);
  CHECK(parsed->descriptors[0].role == DescriptorRole::child);
}

// rules: type-derived
TEST_CASE("the media type comes from the header, else the document, else its shape") {
  const std::string oci(kOciManifest), docker(kDockerManifest);
  CHECK(parse_manifest(manifest(""), docker)->media_type == docker);
  CHECK(parse_manifest(manifest(""), docker + "; charset=utf-8")->media_type == docker);
  CHECK(parse_manifest(manifest(docker), "")->media_type == docker);
  CHECK(parse_manifest(manifest(docker), "application/json")->media_type == docker);
  CHECK(parse_manifest(manifest(docker), "application/octet-stream")->media_type == docker);
  CHECK(parse_manifest(manifest(""), "text/plain")->media_type == oci);
  CHECK(parse_manifest(index(""), "")->media_type == kOciIndex);
  const std::string schema1 = R"({"schemaVersion":1,"fsLayers":[{"blobSum":")" + kDigest + R"("}]})";
  CHECK(parse_manifest(schema1, "application/json")->media_type == kDockerSchema1);
  CHECK(parse_manifest(schema1, kDockerSchema1Signed)->descriptors.size() == 1);
}

// rules: manifest-one-shape
TEST_CASE("a Content-Type that disagrees with the document is refused") {
  CHECK(diagnosis(manifest(std::string(kDockerManifest)), kOciManifest) == "manifest_type_mismatch");
  CHECK(diagnosis(manifest(""), kOciIndex) == "manifest_type_mismatch");
  CHECK(diagnosis(index(""), kOciManifest) == "manifest_type_mismatch");
  CHECK(diagnosis(index(std::string(kOciManifest)), "") == "manifest_type_mismatch");
  const std::string both = R"({"manifests":[],"layers":[],"config":)" + kItem + "}";
  CHECK(diagnosis(both, kOciManifest) == "manifest_type_mismatch");
  CHECK(diagnosis(both, kOciIndex) == "manifest_type_mismatch");
}

TEST_CASE("what is no manifest is named") {
  CHECK(diagnosis("<!DOCTYPE html><html>", "application/json") == "not_a_registry");
  CHECK(diagnosis("{}", "text/html; charset=utf-8") == "not_a_registry");
  CHECK(diagnosis("  \n<HTML>", "") == "not_a_registry");
  CHECK(diagnosis("", "") == "manifest_invalid");
  CHECK(diagnosis("{", "") == "manifest_invalid");
  CHECK(diagnosis("[]", "") == "manifest_invalid");
  CHECK(diagnosis("{}", "") == "manifest_invalid");
  CHECK(diagnosis(std::string(100, '['), "") == "manifest_invalid");
  CHECK(diagnosis(std::string(kMostManifestBytes + 1, ' '), "") == "manifest_too_large");
}

TEST_CASE("descriptors are checked and bounded") {
  const auto with = [](const std::string& item) { return R"({"manifests":[)" + item + "]}"; };
  CHECK(diagnosis(with(R"({"digest":"sha256:x","size":1})"), kOciIndex) == "manifest_invalid");
  CHECK(diagnosis(with(R"({"digest":")" + kDigest + R"("})"), kOciIndex) == "manifest_invalid");
  CHECK(diagnosis(with(R"({"digest":")" + kDigest + R"(","size":-1})"), kOciIndex) == "manifest_invalid");
  CHECK(diagnosis(with(R"({"digest":")" + kDigest + R"(","size":1.5})"), kOciIndex) == "manifest_invalid");
  CHECK(diagnosis(with("5"), kOciIndex) == "manifest_invalid");
  const auto odd =
      parse_manifest(with(R"({"digest":"blake3:)" + std::string(64, 'a') + R"(","size":1})"), kOciIndex);
  REQUIRE(odd);
  CHECK(odd->descriptors.empty());
  std::string many = kItem;
  for (std::size_t i = 1; i < kMostDescriptors; ++i) many += "," + kItem;
  CHECK(parse_manifest(with(many), kOciIndex)->descriptors.size() == kMostDescriptors);
  CHECK(diagnosis(with(many + "," + kItem), kOciIndex) == "manifest_invalid");
}
