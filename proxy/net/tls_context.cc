#include "proxy/net/tls_context.h"

#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <tuple>
#include <utility>

#include "proxy/net/certificate_facts.h"
#include "proxy/net/tls_files.h"
#include "proxy/net/tls_stream.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr std::size_t kMostContexts = 256;

// Where distributions keep their authorities: the first that exists counts.
constexpr const char* kBundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",  // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",    // Fedora, RHEL 6
    "/etc/ssl/ca-bundle.pem",              // SUSE
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // RHEL 7 and later
    "/etc/ssl/cert.pem",                                  // Alpine
};
constexpr const char* kFolders[] = {"/etc/ssl/certs", "/etc/pki/tls/certs"};

std::string last_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code ? ERR_reason_error_string(code) : nullptr;
  return reason ? reason : "no PEM block found";
}

Error unusable(const char* diagnosis, std::string_view key, const Error& error) {
  return {Errc::upstream_unreachable,
          fmt::format("{}: {}", key, error.message),
          error.sys_errno,
          0,
          diagnosis,
          {}};
}

bool exists(const char* path) {
  struct stat found {};
  return stat(path, &found) == 0;
}

std::vector<std::string> split_paths(std::string_view list) {
  std::vector<std::string> paths;
  while (!list.empty()) {
    const auto colon = list.find(':');
    if (auto path = list.substr(0, colon); !path.empty()) paths.emplace_back(path);
    list = colon == std::string_view::npos ? std::string_view() : list.substr(colon + 1);
  }
  return paths;
}

// SSL_CERT_FILE and SSL_CERT_DIR replace the places we know, as they do for Go and OpenSSL.
void system_authorities(std::vector<std::string>& bundles, std::vector<std::string>& folders) {
  const char* file = std::getenv("SSL_CERT_FILE");
  const char* dir = std::getenv("SSL_CERT_DIR");
  if (file && *file) bundles.emplace_back(file);
  if (dir && *dir) folders = split_paths(dir);
  if (!bundles.empty() || !folders.empty()) return;
  for (const char* path : kBundles) {
    if (exists(path)) {
      bundles.emplace_back(path);
      return;
    }
  }
  for (const char* path : kFolders) {
    if (exists(path)) folders.emplace_back(path);
  }
}

TlsSettings without_folders(TlsSettings settings) {
  settings.certs_dirs.clear();
  settings.certs_host.clear();
  settings.certs_port = 0;
  return settings;
}

}  // namespace

TlsContext::TlsContext() : context_(SSL_CTX_new(TLS_client_method())), transport_(new_tls_transport()) {
  LAYERD_CHECK(context_ && transport_);
  SSL_CTX_set_mode(context_, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // HTTP framing tells whether a body was cut, so a FIN without close_notify is an end like another.
  SSL_CTX_set_options(context_, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_COMPRESSION);
  static constexpr unsigned char kProtocols[] = "\x08http/1.1";
  SSL_CTX_set_alpn_protos(context_, kProtocols, sizeof kProtocols - 1);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context_, &TlsStream::on_new_session);
  // As in Go: whatever is in the pool is trusted, also an intermediate or a single server's certificate.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context_), X509_V_FLAG_PARTIAL_CHAIN);
}

TlsContext::~TlsContext() {
  for (auto& [key, session] : sessions_) SSL_SESSION_free(session);
  SSL_CTX_free(context_);
  BIO_meth_free(transport_);
}

bool TlsContext::is_current() const {
  return std::all_of(files_.begin(), files_.end(),
                     [](const FileStamp& stamp) { return FileStamp::of(stamp.path) == stamp; }) &&
         std::all_of(guarded_.begin(), guarded_.end(),
                     [](const FileStamp& stamp) { return FileStamp::of_guarded(stamp.path) == stamp; });
}

Result<TlsContextPtr> TlsContext::build(const TlsSettings& settings, std::string& complaint) {
  CertsFolder folder;
  if (!settings.certs_dirs.empty()) {
    auto read = read_certs_folder(settings.certs_dirs, settings.certs_host, settings.certs_port);
    if (!read) return unusable("tls_ca_file", "certs_dirs", read.error());
    complaint = read->complaint;
    if (read->says_nothing()) return TlsContextPtr();
    folder = std::move(*read);
  }
  ERR_clear_error();
  auto built = std::make_shared<TlsContext>();
  auto loaded = built->load(settings, folder);
  ERR_clear_error();
  if (!loaded) return std::move(loaded).error();
  return built;
}

Result<Ok> TlsContext::load(const TlsSettings& settings, const CertsFolder& folder) {
  files_ = folder.stamps;
  verifies_ = !settings.insecure_skip_verify && !folder.skip_verify;
  minor_version_ = settings.minor_version;
  SSL_CTX_set_min_proto_version(context_, minor_version_ > 2 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_verify(context_, verifies_ ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, &TlsStream::on_verify);
  if (verifies_) {
    if (auto loaded = load_authorities(settings, folder); !loaded) return loaded;
  }
  return load_client_certificate(settings, folder);
}

void TlsContext::load_system_authorities() {
  std::vector<std::string> bundles, folders;
  system_authorities(bundles, folders);
  X509_STORE* store = SSL_CTX_get_cert_store(context_);
  for (const std::string& path : bundles) {
    files_.push_back(FileStamp::of(path));
    if (X509_STORE_load_file(store, path.c_str()) != 1) {
      LogLine(LogLevel::warn, "ca_bundle_unusable").field("file", path).field("err", last_reason());
    }
  }
  for (const std::string& path : folders) {
    files_.push_back(FileStamp::of(path));
    X509_STORE_load_path(store, path.c_str());
  }
}

// What is configured extends the system's authorities, as it does for k3s and containerd, unless those
// are turned off.
Result<Ok> TlsContext::load_authorities(const TlsSettings& settings, const CertsFolder& folder) {
  if (settings.system_cas) load_system_authorities();
  if (!settings.ca_pem.empty()) {
    auto certificates = parse_certificates("the CA given as text", settings.ca_pem);
    if (!certificates) return unusable("tls_ca_file", "tls", certificates.error());
    use(*certificates, "the CA given as text");
  } else if (!settings.ca_file.empty()) {
    if (auto loaded = load_authority_file("tls.ca_file", settings.ca_file); !loaded) return loaded;
  }
  if (!settings.ca_dir.empty()) {
    files_.push_back(FileStamp::of(settings.ca_dir));
    auto files = certificate_files_in(settings.ca_dir);
    if (!files) return unusable("tls_ca_file", "tls.ca_dir", files.error());
    for (const std::string& path : *files) {
      if (auto loaded = load_authority_file("tls.ca_dir", path); !loaded) return loaded;
    }
  }
  for (const std::string& path : folder.ca_files) {
    if (auto loaded = load_authority_file("certs_dirs", path); !loaded) return loaded;
  }
  return Ok{};
}

Result<Ok> TlsContext::load_authority_file(const char* key, const std::string& path) {
  guarded_.push_back(FileStamp::of_guarded(path));
  auto certificates = read_certificates(path);
  if (!certificates) return unusable("tls_ca_file", key, certificates.error());
  use(*certificates, path);
  return Ok{};
}

void TlsContext::use(const std::vector<CertificatePtr>& authorities, const std::string& source) {
  X509_STORE* store = SSL_CTX_get_cert_store(context_);
  for (const auto& certificate : authorities) {
    X509_STORE_add_cert(store, certificate.get());
    sources_.emplace(facts_of(certificate.get()).fingerprint, source);
  }
}

// Of several pairs in a folder docker and containerd offer each; one handshake takes one.
Result<Ok> TlsContext::load_client_certificate(const TlsSettings& settings, const CertsFolder& folder) {
  std::string cert_file = settings.cert_file, key_file = settings.key_file;
  const bool is_text = !settings.cert_pem.empty();
  if (!is_text && cert_file.empty() && key_file.empty() && !folder.client.empty())
    std::tie(cert_file, key_file) = folder.client.front();
  if (!is_text && cert_file.empty() && key_file.empty()) return Ok{};
  for (const std::string* path : {&cert_file, &key_file})
    if (!path->empty()) guarded_.push_back(FileStamp::of_guarded(*path));
  auto client = is_text ? parse_client_certificate({"the certificate given as text", settings.cert_pem},
                                                   {"the key given as text", settings.key_pem})
                        : read_client_certificate(cert_file, key_file);
  if (!client) return unusable("tls_client_certificate", "client certificate", client.error());
  SSL_CTX_use_certificate(context_, client->chain.front().get());
  SSL_CTX_use_PrivateKey(context_, client->key.get());
  for (std::size_t i = 1; i < client->chain.size(); ++i)
    SSL_CTX_add1_chain_cert(context_, client->chain[i].get());
  return Ok{};
}

std::string TlsContext::source_of(const CertificateFacts& authority) const {
  const auto found = sources_.find(authority.fingerprint);
  return found == sources_.end() ? "the system's CAs" : found->second;
}

SSL_SESSION* TlsContext::find_session(const std::string& key) const {
  const auto found = sessions_.find(key);
  if (found == sessions_.end() || !SSL_SESSION_is_resumable(found->second)) return nullptr;
  return found->second;
}

void TlsContext::remember_session(const std::string& key, SSL_SESSION* session) {
  SSL_SESSION*& place = sessions_[key];
  if (place) SSL_SESSION_free(place);
  place = session;
  if (sessions_.size() <= kMostSessions) return;
  auto victim = sessions_.begin()->first == key ? std::next(sessions_.begin()) : sessions_.begin();
  SSL_SESSION_free(victim->second);
  sessions_.erase(victim);
}

// Who waits for a context; `plain` is the wait for the one without certs_dirs.
struct TlsContexts::Waiter final : Pending<TlsContextPtr> {
  using Pending::Pending;
  void on_cancel() noexcept override { plain.reset(); }
  Ticket plain;
};

Ticket TlsContexts::get(const TlsSettings& settings, Done<TlsContextPtr> done) {
  auto waiter = std::make_shared<Waiter>(std::move(done));
  Entry& entry = entry_for(settings);
  const bool is_fresh = loop_.now() - entry.checked < look_again_;
  if (entry.is_plain && is_fresh) {
    get_plain(without_folders(entry.settings), waiter);
  } else if (entry.context && is_fresh) {
    loop_.post_detached([waiter, context = entry.context] { waiter->answer(context); });
  } else {
    entry.waiting.push_back(waiter);
    if (!entry.job.held()) look(entry);
  }
  return Ticket(waiter);
}

void TlsContexts::get_plain(const TlsSettings& plain, const std::shared_ptr<Waiter>& waiter) {
  waiter->plain = get(plain, [weak = std::weak_ptr(waiter)](Result<TlsContextPtr> context) {
    if (const auto held = weak.lock()) held->answer(std::move(context));
  });
}

TlsContexts::Entry& TlsContexts::entry_for(const TlsSettings& settings) {
  for (auto& entry : entries_) {
    if (entry->settings == settings) return *entry;
  }
  if (entries_.size() >= kMostContexts) {
    // Hosts come from outside; what nobody asked for longest goes.
    auto oldest = entries_.end();
    for (auto it = entries_.begin(); it != entries_.end(); ++it) {
      if (!(*it)->job.held() && (oldest == entries_.end() || (*it)->checked < (*oldest)->checked))
        oldest = it;
    }
    if (oldest != entries_.end()) entries_.erase(oldest);
  }
  entries_.push_back(std::make_unique<Entry>());
  entries_.back()->settings = settings;
  return *entries_.back();
}

void TlsContexts::look(Entry& entry) {
  entry.job = workers_.run<Looked>(
      "TLS files",
      [settings = entry.settings, old = entry.context, complaint = entry.complaint]() -> Result<Looked> {
        if (old && old->is_current()) return Looked{old, complaint};
        Looked looked;
        auto built = TlsContext::build(settings, looked.complaint);
        if (!built) return std::move(built).error();
        looked.context = std::move(*built);
        return looked;
      },
      [this, &entry](Result<Looked> result) { looked(entry, std::move(result)); });
}

void TlsContexts::looked(Entry& entry, Result<Looked> looked) {
  entry.job.reset();
  Result<TlsContextPtr> result =
      looked ? Result<TlsContextPtr>(looked->context) : Result<TlsContextPtr>(looked.error());
  if (looked) {
    if (!looked->complaint.empty() && looked->complaint != entry.complaint)
      LogLine(LogLevel::warn, "certs_dirs").field("err", looked->complaint);
    entry.complaint = looked->complaint;
    entry.failure.clear();
    entry.context = looked->context;
    entry.is_plain = entry.context == nullptr;
    entry.checked = loop_.now();
  } else {
    const bool is_news = std::exchange(entry.failure, looked.error().message) != looked.error().message;
    if (is_news && entry.context)
      LogLine(LogLevel::warn, "tls_files_unusable")
          .field("err", looked.error().message)
          .field("using", "the old ones");
  }
  if (!looked && entry.context) {
    entry.checked = loop_.now();
    result = entry.context;
  }
  auto waiting = std::move(entry.waiting);
  entry.waiting.clear();
  if (entry.is_plain && result) {
    const TlsSettings plain = without_folders(entry.settings);  // get_plain may put the entry out
    for (auto& waiter : waiting) {
      if (waiter->wanted()) get_plain(plain, waiter);
    }
    return;
  }
  for (auto& waiter : waiting) {
    waiter->answer(result.ok() ? Result<TlsContextPtr>(*result) : Result<TlsContextPtr>(result.error()));
  }
}

std::vector<std::string> TlsContexts::troubles() const {
  std::set<std::string> sentences;  // several hosts may share a file
  for (const auto& entry : entries_)
    for (const std::string* trouble : {&entry->complaint, &entry->failure})
      if (!trouble->empty()) sentences.insert(*trouble);
  return {sentences.begin(), sentences.end()};
}

}  // namespace layerd::net
