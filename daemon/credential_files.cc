#include "daemon/credential_files.h"

namespace layerd::daemon {
namespace {
constexpr std::chrono::seconds kAgain{10};
}  // namespace

CredentialFiles::CredentialFiles(UvLoop& loop, upstream::RegistryFetcher& fetcher)
    : loop_(loop), fetcher_(fetcher), files_(loop, [this] { look(); }) {}

void CredentialFiles::watch(const std::vector<std::string>& files) {
  std::vector<net::FileStamp> stamps;
  for (const auto& file : files) stamps.push_back(net::FileStamp::of(file));
  files_.watch(std::move(stamps));
  look();
}

void CredentialFiles::look() {
  again_.reset();
  looking_ = fetcher_.look_at_files([this] {
    if (!fetcher_.file_troubles().empty())
      again_ = loop_.after(kAgain, "bad credential files", [this] { look(); });
  });
}

}  // namespace layerd::daemon
