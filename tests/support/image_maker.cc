#include "tests/support/image_maker.h"

#include <fmt/core.h>

#include <array>
#include <cstring>

#include "tests/support/hashes.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

struct Packed {
  std::string tar;
  std::string gzip;
};

std::string tar_of(const std::string& name, const std::string& content) {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, const std::string& text) {
    std::memcpy(&header[at], text.data(), text.size());
  };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, fmt::format("{:011o}", content.size()));
  put(136, "14000000000");
  put(148, "        ");
  header[156] = '0';
  put(257, std::string("ustar\0"
                       "00",
                       8));
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  std::string tar = header + content;
  tar.resize((tar.size() + 511) / 512 * 512 + 1024, '\0');
  return tar;
}

std::uint32_t crc32_of(const std::string& bytes) {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? (value >> 1) ^ 0xEDB88320U : value >> 1;
    table[i] = value;
  }
  std::uint32_t crc = 0xFFFFFFFFU;
  for (char c : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(c)) & 255U];
  return ~crc;
}

void put_little(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 255U);
}

// Stored blocks only: the content is random anyhow, and no compression library is needed.
std::string gzip_of(const std::string& bytes) {
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
  out.reserve(bytes.size() + bytes.size() / 1000 + 64);
  std::size_t at = 0;
  do {
    const std::size_t part = std::min<std::size_t>(65535, bytes.size() - at);
    out += at + part == bytes.size() ? '\1' : '\0';
    put_little(out, part, 2);
    put_little(out, ~part, 2);
    out.append(bytes, at, part);
    at += part;
  } while (at < bytes.size());
  put_little(out, crc32_of(bytes), 4);
  put_little(out, bytes.size(), 4);
  return out;
}

Packed pack(const std::string& name, std::size_t bytes, std::uint64_t seed) {
  Packed packed;
  packed.tar = tar_of(name, random_bytes(bytes, seed));
  packed.gzip = gzip_of(packed.tar);
  return packed;
}

struct Types {
  std::string index, manifest, config, layer;
};

Types types_of(bool docker) {
  if (docker) {
    const std::string base = "application/vnd.docker.";
    return {base + "distribution.manifest.list.v2+json", base + "distribution.manifest.v2+json",
            base + "container.image.v1+json", base + "image.rootfs.diff.tar.gzip"};
  }
  const std::string base = "application/vnd.oci.image.";
  return {base + "index.v1+json", base + "manifest.v1+json", base + "config.v1+json",
          base + "layer.v1.tar+gzip"};
}

std::string descriptor(const std::string& type, const std::string& digest, std::size_t size,
                       const std::string& more = "") {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}{}}})", type, digest, size, more);
}

std::string keep(Image& image, std::string bytes) {
  std::string digest = sha256_digest(bytes);
  image.blobs.emplace(digest, std::move(bytes));
  return digest;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) text += (text.empty() ? "" : ",") + part;
  return text;
}

// Adds one platform's blobs and manifest; answers the manifest's digest.
std::string add_platform(Image& image, const ImageShape& shape, const std::string& platform,
                         std::uint64_t seed) {
  const Types types = types_of(shape.docker_types);
  const bool first = image.manifest.empty();
  std::vector<std::string> layers, diff_ids;
  for (std::size_t i = 0; i < shape.layers.size(); ++i) {
    Packed packed = pack(fmt::format("file-{}", i), shape.layers[i], seed * 1000 + i);
    diff_ids.push_back('"' + sha256_digest(packed.tar) + '"');
    const std::size_t size = packed.gzip.size();
    const std::string digest = keep(image, std::move(packed.gzip));
    layers.push_back(descriptor(types.layer, digest, size));
    if (first) image.layers.push_back(digest);
  }
  std::string config = fmt::format(
      R"({{"architecture":"{}","os":"linux","config":{{"Cmd":["/file-0"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}})",
      platform, joined(diff_ids));
  const std::size_t config_size = config.size();
  const std::string config_digest = keep(image, std::move(config));
  std::string text =
      fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}})", types.manifest,
                  descriptor(types.config, config_digest, config_size), joined(layers));
  const std::string digest = sha256_digest(text);
  image.manifests.emplace(digest, std::pair(types.manifest, std::move(text)));
  if (first) {
    image.manifest = digest;
    image.config = config_digest;
  }
  return digest;
}

void put_blob_file(const std::string& storage, const std::string& digest, const std::string& bytes) {
  const std::string hex = digest.substr(digest.find(':') + 1);
  write_text(fmt::format("{}/docker/registry/v2/blobs/sha256/{}/{}/data", storage, hex.substr(0, 2), hex),
             bytes);
}

void put_link(const std::string& storage, const std::string& repository, const std::string& place,
              const std::string& digest) {
  write_text(fmt::format("{}/docker/registry/v2/repositories/{}/{}/link", storage, repository, place),
             digest);
}

}  // namespace

std::size_t Image::blob_bytes() const {
  std::size_t sum = 0;
  for (const auto& [digest, bytes] : blobs) sum += bytes.size();
  return sum;
}

std::string make_layer(const std::string& name, std::size_t bytes, std::uint64_t seed) {
  return pack(name, bytes, seed).gzip;
}

Image make_image(const ImageShape& shape) {
  Image image;
  std::vector<std::string> entries;
  const Types types = types_of(shape.docker_types);
  std::uint64_t seed = shape.seed * 100;
  for (const auto& platform : shape.platforms) {
    const std::string digest = add_platform(image, shape, platform, seed++);
    entries.push_back(
        descriptor(types.manifest, digest, image.manifests.at(digest).second.size(),
                   fmt::format(R"(,"platform":{{"architecture":"{}","os":"linux"}})", platform)));
    image.top = digest;
  }
  if (shape.platforms.size() > 1) {
    std::string index = fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}})", types.index,
                                    joined(entries));
    image.top = sha256_digest(index);
    image.manifests.emplace(image.top, std::pair(types.index, std::move(index)));
  }
  return image;
}

void place_blob_in_storage(const std::string& bytes, const std::string& storage,
                           const std::string& repository) {
  const std::string digest = sha256_digest(bytes);
  put_blob_file(storage, digest, bytes);
  put_link(storage, repository, "_layers/sha256/" + digest.substr(7), digest);
}

void place_in_storage(const Image& image, const std::string& storage, const std::string& repository,
                      const std::string& tag) {
  for (const auto& [digest, bytes] : image.blobs) {
    put_blob_file(storage, digest, bytes);
    put_link(storage, repository, "_layers/sha256/" + digest.substr(7), digest);
  }
  for (const auto& [digest, manifest] : image.manifests) {
    put_blob_file(storage, digest, manifest.second);
    put_link(storage, repository, "_manifests/revisions/sha256/" + digest.substr(7), digest);
  }
  put_link(storage, repository, "_manifests/tags/" + tag + "/current", image.top);
  put_link(storage, repository, "_manifests/tags/" + tag + "/index/sha256/" + image.top.substr(7), image.top);
}

}  // namespace layerd::test
