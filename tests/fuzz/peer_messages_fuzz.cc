// Messages of members: the first byte says which, the rest is the text. What is accepted stays within its
// bounds and is written and read again as the same.
#include <cstdint>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/messages.h"
#include "runtime/check.h"

using namespace layerd;
using namespace layerd::peers;

namespace {

template <class Message>
void again(const Message& message, Result<Message> (*parse)(std::string_view)) {
  const auto text = text_of(message);
  if (text.size() > kMostMessage) return;  // escapes may make it longer than what was read
  const auto back = parse(text);
  LAYERD_CHECK(back.ok());
  LAYERD_CHECK(text_of(*back) == text);
}

void check_ids(const std::vector<std::string>& ids, std::size_t most) {
  LAYERD_CHECK(ids.size() <= most);
  for (const auto& id : ids) LAYERD_CHECK(is_member_id(id));
}

void read_ask(std::string_view text) {
  const auto ask = parse_ask(text);
  if (!ask) return;
  check_ids(ask->avoid, kMostIds);
  check_ids(ask->dead, kMostIds);
  LAYERD_CHECK(ask->hops <= kMostHops && ask->zone.size() <= kMostZone && ask->have <= kMostBytes);
  again(*ask, parse_ask);
}

void read_ask_answer(std::string_view text) {
  const auto answer = parse_ask_answer(text);
  if (!answer) return;
  check_ids(answer->sources, kMostSources);
  LAYERD_CHECK(answer->lease <= kMostWait && answer->wait <= kMostWait);
  again(*answer, parse_ask_answer);
}

void read_tell(std::string_view text) {
  const auto tell = parse_tell(text);
  if (!tell) return;
  LAYERD_CHECK(tell->done.size() <= kMostTold && tell->alive.size() <= kMostTold);
  if (tell->have) LAYERD_CHECK(tell->have->blobs.size() <= kMostHave);
  again(*tell, parse_tell);
}

template <class Message>
void read(std::string_view text, Result<Message> (*parse)(std::string_view)) {
  const auto message = parse(text);
  if (message) again(*message, parse);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 9) {
    case 0:
      return read_ask(text), 0;
    case 1:
      return read_ask_answer(text), 0;
    case 2:
      return read<Probe>(text, parse_probe), 0;
    case 3:
      return read<ProbeAnswer>(text, parse_probe_answer), 0;
    case 4:
      return read_tell(text), 0;
    case 5:
      return read<Who>(text, parse_who), 0;
    case 6:
      return read<WhoAnswer>(text, parse_who_answer), 0;
    case 7:
      return read<Recall>(text, parse_recall), 0;
    default:
      return read<RecallAnswer>(text, parse_recall_answer), 0;
  }
}
