// The last good list of each source, on disk (docs/formats.md "members.json"). Blocks.
#pragma once

#include <string>
#include <vector>

#include "proxy/peers/member.h"
#include "runtime/result.h"

namespace layerd::peers {

struct KeptList {
  std::string source, of;  // MemberSource::name(), of()
  std::vector<Member> members;
};

std::string kept_text(const std::string& site, const std::vector<KeptList>& lists);
// Nothing of a text of another site, of another version, or that is damaged: it is only a beginning.
// Errors: config, naming what is wrong.
Result<std::vector<KeptList>> parse_kept(std::string_view text, const std::string& site);

Result<std::vector<KeptList>> load_kept(const std::string& path, const std::string& site);

}  // namespace layerd::peers
