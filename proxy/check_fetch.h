// CheckFetch: a request of a check by the pull's own flow, and the small body that comes of it. Both end by
// the walk's deadline, however the bytes drip. Loop thread; one thing at a time; dropping it aborts.
#pragma once

#include <memory>
#include <string>

#include "proxy/upstream/request_flow.h"
#include "proxy/upstream/small_body.h"

namespace layerd::proxy {

class CheckFetch {
 public:
  // `flows` and `rules` outlive this.
  CheckFetch(Loop& loop, upstream::FlowParts& flows, const registry::Rules& rules, Deadline deadline)
      : loop_(loop), flows_(flows), rules_(rules), deadline_(deadline) {}
  CheckFetch(const CheckFetch&) = delete;
  CheckFetch& operator=(const CheckFetch&) = delete;

  // Asks request.first_endpoint and no other. Errors: as Fetcher::fetch; upstream_timeout by the deadline.
  // The callbacks of both may destroy this.
  void start(upstream::FetchRequest request, Done<upstream::FetchResponse> done);
  // At most `limit` bytes of the body. Errors: as BodyReader::read; upstream_timeout by the deadline.
  void read(upstream::FetchResponse response, std::size_t limit, Done<upstream::SmallBody> done);

 private:
  template <class T>
  void end(const std::shared_ptr<Done<T>>& done, Result<T> result);

  Loop& loop_;
  upstream::FlowParts& flows_;
  const registry::Rules& rules_;
  const Deadline deadline_;
  upstream::FetchRequest request_;  // the flow's
  std::unique_ptr<upstream::RequestFlow> flow_;
  Ticket reading_, limit_;
};

}  // namespace layerd::proxy
