#include "proxy/check_fetch.h"

#include <fmt/core.h>

namespace layerd::proxy {

// What runs is let go of first: it is over, or has to be.
template <class T>
void CheckFetch::end(const std::shared_ptr<Done<T>>& done, Result<T> result) {
  const auto flow = std::move(flow_);
  const auto reading = std::move(reading_);
  limit_.reset();
  auto call = std::move(*done);
  call(std::move(result));
}

void CheckFetch::start(upstream::FetchRequest request, Done<upstream::FetchResponse> done) {
  request_ = std::move(request);
  request_.only_first_endpoint = true;
  // Shared by the flow's own end and the deadline: whichever comes first.
  const auto once = std::make_shared<Done<upstream::FetchResponse>>(std::move(done));
  flow_ =
      std::make_unique<upstream::RequestFlow>(flows_, request_, rules_, request_.first_endpoint, deadline_);
  limit_ = loop_.at(deadline_, "a request of a check",
                    [this, once] { end<upstream::FetchResponse>(once, flow_->expired()); });
  flow_->start([this, once](Result<upstream::FetchResponse> response) { end(once, std::move(response)); });
}

void CheckFetch::read(upstream::FetchResponse response, std::size_t limit, Done<upstream::SmallBody> done) {
  const auto once = std::make_shared<Done<upstream::SmallBody>>(std::move(done));
  limit_ = loop_.at(deadline_, "a body of a check", [this, once, from = response.endpoint_name] {
    end<upstream::SmallBody>(once, Error{Errc::upstream_timeout,
                                         fmt::format("{} began to answer and did not go on in time", from)});
  });
  reading_ = upstream::read_small_body(
      std::move(response.body), limit,
      [this, once](Result<upstream::SmallBody> body) { end(once, std::move(body)); });
}

}  // namespace layerd::proxy
