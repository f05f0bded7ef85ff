// TLS client contexts: settings -> certificates, keys and remembered sessions. Loop thread, but for
// build(), which reads files and runs on a worker.
//
// A context is built once for equal settings and again when one of its files has changed (device,
// inode, mtime, size; looked at when somebody dials, at most once a second; of a file in a folder that only
// root may enter with the root helper's help). Connections that exist keep the context they began with.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/certs_folder.h"
#include "proxy/net/dialer.h"
#include "proxy/net/file_stamp.h"
#include "proxy/net/tls_files.h"
#include "runtime/workers.h"

struct ssl_ctx_st;
struct ssl_session_st;
struct bio_method_st;

namespace layerd::net {

class TlsContext {
 public:
  // Worker side. Null: certs_dirs are given and say nothing of the host, so that the settings without
  // them would make the same context. Errors: upstream_unreachable with diagnosis tls_ca_file or
  // tls_client_certificate, naming the file and the cause.
  // complaint: is set to what in certs_dirs cannot be used and is no error.
  static Result<std::shared_ptr<TlsContext>> build(const TlsSettings& settings, std::string& complaint);
  TlsContext();
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* raw() { return context_; }
  // The transport of TlsStream: records come from and go to it (tls_stream.cc).
  bio_method_st* transport() { return transport_; }
  bool verifies() const { return verifies_; }
  unsigned minor_version() const { return minor_version_; }
  // Where a trusted certificate came from: the path of a file that was configured, else "the system's CAs".
  std::string source_of(const CertificateFacts& authority) const;

  // Sessions by "name:port". find: null if there is none; the context keeps owning it.
  // remember: takes the reference over. At most kMostSessions are kept.
  static constexpr std::size_t kMostSessions = 256;
  ssl_session_st* find_session(const std::string& key) const;
  void remember_session(const std::string& key, ssl_session_st* session);

  // Worker side. True if every file is as it was when the context was built.
  bool is_current() const;

 private:
  Result<Ok> load(const TlsSettings& settings, const CertsFolder& folder);
  void load_system_authorities();
  Result<Ok> load_authorities(const TlsSettings& settings, const CertsFolder& folder);
  Result<Ok> load_authority_file(const char* key, const std::string& path);
  Result<Ok> load_client_certificate(const TlsSettings& settings, const CertsFolder& folder);
  void use(const std::vector<CertificatePtr>& authorities, const std::string& source);

  ssl_ctx_st* context_;
  bio_method_st* transport_;
  bool verifies_ = true;
  unsigned minor_version_ = 2;
  std::vector<FileStamp> files_;                // folders and what is anybody's; constant once built
  std::vector<FileStamp> guarded_;              // what the root helper may have to pass; constant once built
  std::map<std::string, std::string> sources_;  // fingerprint -> file; constant once built
  std::map<std::string, ssl_session_st*> sessions_;
};

using TlsContextPtr = std::shared_ptr<TlsContext>;

class TlsContexts {
 public:
  // look_again: how often files are looked at, at most.
  TlsContexts(Loop& loop, Workers& workers, Duration look_again = std::chrono::seconds(1))
      : loop_(loop), workers_(workers), look_again_(look_again) {}

  // The context for these settings. When files have changed and the new ones are bad, the old context
  // stays and the log says so. Errors: as build().
  Ticket get(const TlsSettings& settings, Done<TlsContextPtr> done);
  // What is wrong with certificate files, as far as somebody dialled, one sentence each: why the old ones go
  // on, why there are none, what of certs_dirs does not count.
  std::vector<std::string> troubles() const;

 private:
  struct Waiter;
  struct Entry {
    TlsSettings settings;
    TlsContextPtr context;
    bool is_plain = false;  // certs_dirs say nothing of the host: the context without them serves
    TimePoint checked;
    std::string complaint;  // of certs_dirs, told once
    std::string failure;    // why the files as they are now make no context; told once
    std::vector<std::shared_ptr<Waiter>> waiting;
    Ticket job;
  };
  Entry& entry_for(const TlsSettings& settings);
  void get_plain(const TlsSettings& plain, const std::shared_ptr<Waiter>& waiter);
  struct Looked {
    TlsContextPtr context;
    std::string complaint;
  };
  void look(Entry& entry);
  void looked(Entry& entry, Result<Looked> result);

  Loop& loop_;
  Workers& workers_;
  Duration look_again_;
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace layerd::net
