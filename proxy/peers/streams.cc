#include "proxy/peers/streams.h"

namespace layerd::peers {

// One read of the download: answered by the member's bytes, or when the member is left.
struct UnitStream::Read final : Pending<Bytes> {
  using Pending<Bytes>::Pending;
  void on_cancel() noexcept override { inner.reset(); }
  Ticket inner;
};

// What the download reads. Keeps the stream in the table for as long as it is held.
class StreamBody final : public http::BodyReader {
 public:
  StreamBody(std::shared_ptr<UnitStream> stream, std::unique_ptr<http::BodyReader> inner)
      : stream_(std::move(stream)), inner_(std::move(inner)) {}

  Ticket read(std::size_t max, Done<Bytes> done) override {
    auto read = std::make_shared<UnitStream::Read>(std::move(done));
    if (stream_->left_) {
      read->inner =
          stream_->streams_.loop().post([read = read.get(), why = *stream_->left_] { read->answer(why); });
      return Ticket(std::move(read));
    }
    stream_->reading_ = read;
    read->inner = inner_->read(max, [read = read.get(), stream = stream_.get()](Result<Bytes> bytes) {
      if (bytes) stream->arrived(bytes->size());
      read->answer(std::move(bytes));
    });
    return Ticket(std::move(read));
  }
  std::optional<ByteCount> length() const override { return inner_->length(); }

 private:
  std::shared_ptr<UnitStream> stream_;
  std::unique_ptr<http::BodyReader> inner_;
};

UnitStream::UnitStream(Streams& streams, std::weak_ptr<ShareCore> share, UnitName unit, std::string member)
    : streams_(streams),
      share_(std::move(share)),
      unit_(std::move(unit)),
      member_(std::move(member)),
      made_(streams.loop_.now()) {
  streams_.streams_.emplace(key_of(unit_), this);
}

UnitStream::~UnitStream() {
  const auto [begin, end] = streams_.streams_.equal_range(key_of(unit_));
  for (auto at = begin; at != end; ++at)
    if (at->second == this) {
      streams_.streams_.erase(at);
      break;
    }
}

void UnitStream::opened(ByteRange range, std::vector<std::string> path) {
  range_ = range;
  path_ = std::move(path);
  is_open_ = true;
  began_ = last_byte_ = streams_.loop_.now();
  if (streams_.wake_) streams_.wake_();
}

bool UnitStream::is_awaited() const {
  const auto reading = reading_.lock();
  return reading && reading->wanted();
}

std::unique_ptr<http::BodyReader> UnitStream::body(std::unique_ptr<http::BodyReader> inner) {
  return std::make_unique<StreamBody>(shared_from_this(), std::move(inner));
}

void UnitStream::leave(Error why) {
  if (left_) return;
  left_ = std::move(why);
  const auto reading = reading_.lock();
  if (!reading || !reading->wanted()) return;
  reading->inner.reset();
  reading->answer(*left_);
}

void UnitStream::arrived(ByteCount bytes) {
  received_ += bytes;
  last_byte_ = streams_.loop_.now();
  streams_.acquaintances_.gave(member_, bytes, last_byte_);
  streams_.metrics_.bytes_from_members.add(bytes);
  streams_.speeds_.received(bytes, last_byte_);
}

std::vector<std::string> UnitStream::path() const {
  std::vector<std::string> path{member_};
  path.insert(path.end(), path_.begin(), path_.end());
  return path;
}

double UnitStream::rate(TimePoint now) const {
  const std::chrono::duration<double> age = now - began_;
  return static_cast<double>(received_) / std::max(age.count(), 1e-3);
}

std::vector<std::string> Streams::path_of(const UnitKey& key) const {
  std::vector<std::string> path;
  const auto [begin, end] = streams_.equal_range(key);
  for (auto at = begin; at != end; ++at) {
    if (at->second->is_left()) continue;
    const auto one = at->second->path();
    path.insert(path.end(), one.begin(), one.end());
  }
  return path;
}

unsigned Streams::begun_lately(const std::string& member) const {
  unsigned count = 0;
  for (const auto& [key, stream] : streams_)
    count += stream->member_ == member && loop_.now() - stream->made_ < std::chrono::milliseconds(20);
  return count;
}

std::vector<std::shared_ptr<UnitStream>> Streams::all() const {
  std::vector<std::shared_ptr<UnitStream>> all;
  for (const auto& [key, stream] : streams_) all.push_back(stream->shared_from_this());
  return all;
}

}  // namespace layerd::peers
