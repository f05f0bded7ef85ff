#include "proxy/peers/teller.h"

#include <algorithm>

#include "proxy/peers/message_fields.h"

namespace layerd::peers {
namespace {

std::size_t entries(const Tell& tell) {
  return tell.done.size() + tell.alive.size() + tell.gave_up.size() + tell.taken.size();
}

// An older word about the same unit is void.
template <class Entry>
void drop(std::vector<Entry>& entries, const UnitName& unit) {
  const auto key = key_of(unit);
  std::erase_if(entries, [&key](const Entry& entry) { return key_of(entry.unit) == key; });
}

}  // namespace

Tell& Teller::letter(const std::string& to) {
  auto& tell = letters_[to];
  if (entries(tell) >= kMostTold) {
    Tell full = std::move(tell);
    tell = {};
    deliver_(to, std::move(full));
  }
  if (!timer_.held())
    timer_ = loop_.after(after_, "peers: tell", [this] {
      timer_ = {};
      flush();
    });
  return tell;
}

void Teller::done(const std::string& to, Tell::Done done) {
  auto& tell = letter(to);
  drop(tell.alive, done.unit);
  drop(tell.gave_up, done.unit);
  drop(tell.done, done.unit);
  tell.done.push_back(std::move(done));
}

void Teller::alive(const std::string& to, Tell::Alive alive) {
  auto& tell = letter(to);
  drop(tell.alive, alive.unit);
  tell.alive.push_back(std::move(alive));
}

void Teller::gave_up(const std::string& to, Tell::GaveUp gave_up) {
  auto& tell = letter(to);
  drop(tell.alive, gave_up.unit);
  drop(tell.gave_up, gave_up.unit);
  tell.gave_up.push_back(std::move(gave_up));
}

void Teller::taken(const std::string& to, Tell::Taken taken) {
  auto& tell = letter(to);
  drop(tell.taken, taken.unit);
  tell.taken.push_back(std::move(taken));
}

void Teller::flush() {
  timer_ = {};
  auto letters = std::move(letters_);
  letters_.clear();
  for (auto& [to, tell] : letters)
    if (!tell.empty()) deliver_(to, std::move(tell));
}

}  // namespace layerd::peers
