// A DNS server on 127.0.0.1 (UDP and, for truncated answers, TCP) with scripted answers, on a thread.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace layerd::test {

class FakeDns {
 public:
  struct Service {
    std::string target;
    unsigned short port = 0;
    std::string address = {};  // of the target, given along; empty: not
  };
  struct Answer {
    std::vector<std::string> addresses = {};  // of both families; empty with rcode 0: no data
    int rcode = 0;                            // 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED
    unsigned ttl = 60;
    bool is_silent = false;
    bool is_truncated = false;  // over UDP; TCP gives all of it
    std::vector<Service> services = {};
    bool is_silent_on_v6 = false;  // questions for AAAA get no answer
  };
  FakeDns();
  ~FakeDns();
  std::string address() const;  // "127.0.0.1:port"
  // Names in lower case; unknown ones are NXDOMAIN. Any thread.
  void set(const std::string& name, Answer answer);
  // Questions of all types for `name` so far.
  int asked(const std::string& name);
  // The ports that questions came from over UDP.
  std::set<unsigned short> ports();

 private:
  void serve();
  std::string answer_to(const std::string& question, bool is_udp);
  int udp_ = -1, tcp_ = -1;
  unsigned short port_ = 0;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::map<std::string, Answer> answers_;  // guarded by mutex_
  std::map<std::string, int> asked_;       // guarded by mutex_
  std::set<unsigned short> ports_;         // guarded by mutex_
  std::thread thread_;
};

}  // namespace layerd::test
