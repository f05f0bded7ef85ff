#include "proxy/peers/peer_stream_handler.h"

#include "proxy/peers/message_fields.h"
#include "proxy/peers/peer_text.h"
#include "proxy/registry/range.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kFilePiece = 1_MiB;     // between two pieces a file can be left
constexpr std::size_t kCutThrough = 256_KiB;  // of a growing one at once; less when less is here

}  // namespace

PeerService::Stream::Stream(PeerService& service, http::Exchange& exchange, GuestPtr guest,
                            const std::string& from, UnitGet get)
    : service_(service), exchange_(exchange), guest_(std::move(guest)), get_(std::move(get)) {
  ++guest_->streams;
  service_.streams_gauge_.set(static_cast<std::int64_t>(++service_.streams_now_));
  exchange_.note("digest", get_.unit.blob.digest.str());
  pending_ = service_.desk_.on_get(
      from, get_, [this](Result<std::unique_ptr<Upload>> upload) { begin(std::move(upload)); });
}

PeerService::Stream::~Stream() {
  --guest_->streams;
  service_.streams_gauge_.set(static_cast<std::int64_t>(--service_.streams_now_));
}

void PeerService::Stream::begin(Result<std::unique_ptr<Upload>> upload) {
  if (!upload) return service_.refuse(exchange_, upload.error());
  upload_ = std::move(*upload);
  left_ = {get_.range.first, std::min(get_.range.end, upload_->total)};
  if (left_.empty())
    return service_.refuse(exchange_,
                           {Errc::range_unsatisfiable, "the range lies behind the end of the blob"});
  auto head = service_.head(206);
  head.headers.add("Content-Range", registry::content_range(left_, upload_->total));
  head.headers.add(kRightsHeader, std::string(word_of(upload_->rights)));
  if (!upload_->path.empty()) head.headers.add(kPathHeader, path_text(upload_->path));
  exchange_.note("range", range_text(left_));
  exchange_.begin(std::move(head), left_.size());
  next();
}

void PeerService::Stream::next() {
  if (left_.empty()) return exchange_.finish();
  const auto most = static_cast<std::size_t>(std::min<ByteCount>(left_.size(), kFilePiece));
  if (!service_.upload_.is_on()) return send(most);
  pending_ =
      service_.upload_.take(guest_->reader, most, [this](Result<std::size_t> granted) { send(*granted); });
}

void PeerService::Stream::send(std::size_t most) {
  if (auto file = upload_->source->file()) {
    pending_ = exchange_.send_file(std::move(file), {left_.first, left_.first + most},
                                   [this, most] { moved(most); });
    return;
  }
  const std::size_t wanted = std::min(most, kCutThrough);
  const std::size_t granted = service_.upload_.is_on() ? most : 0;
  pending_ = upload_->source->read(left_.first, wanted, [this, granted](Result<Bytes> chunk) {
    if (!chunk) {
      exchange_.note("fault", printable(chunk.error().message));
      return exchange_.break_off(chunk.error());
    }
    const std::size_t size = chunk->size();
    if (granted > size) service_.upload_.give_back(granted - size);
    pending_ = exchange_.send(std::move(*chunk), [this, size] { moved(size); });
  });
}

void PeerService::Stream::moved(ByteCount bytes) {
  left_.first += bytes;
  service_.sent_.add(bytes);
  upload_->moved(bytes);
  guest_->traffic->sent += bytes;
  next();
}

}  // namespace layerd::peers
