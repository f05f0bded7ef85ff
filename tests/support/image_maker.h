// Images of real shape from generated content: valid tar.gz layers (one file each, not compressible), a
// configuration, a manifest for each platform and, for several platforms, an index.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace layerd::test {

struct ImageShape {
  std::vector<std::size_t> layers = {64 * 1024};   // bytes of the file in each layer
  std::vector<std::string> platforms = {"amd64"};  // several: the top is an index
  std::uint64_t seed = 1;
  bool docker_types = false;  // Docker's media types and not OCI's
};

struct Image {
  std::map<std::string, std::string> blobs;                              // digest -> bytes
  std::map<std::string, std::pair<std::string, std::string>> manifests;  // digest -> media type, bytes
  std::string top;                                                       // digest a tag points to
  // Of the first platform:
  std::string manifest;
  std::string config;
  std::vector<std::string> layers;

  std::size_t blob_bytes() const;
};

Image make_image(const ImageShape& shape);
// A tar.gz with one file.
std::string make_layer(const std::string& name, std::size_t bytes, std::uint64_t seed);

// Writes the image into the storage folder of a docker-registry (2.x "filesystem" layout), so that it can
// be there before a registry with any kind of access rule starts.
void place_in_storage(const Image& image, const std::string& storage, const std::string& repository,
                      const std::string& tag);
void place_blob_in_storage(const std::string& bytes, const std::string& storage,
                           const std::string& repository);

}  // namespace layerd::test
