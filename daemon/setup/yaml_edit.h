// Small changes to YAML that people wrote: everything around stays as it is, comments as well. Each
// change is read back and compared, so that a form this cannot edit is refused and never spoilt. Pure.
#pragma once

#include <string>
#include <vector>

#include "daemon/config_yaml.h"
#include "runtime/result.h"

namespace layerd::daemon::setup {

// Errors: config, with file and line: no YAML, or keys twice.
Result<YamlNode> read_yaml(const std::string& file, const std::string& text);

// Puts `item` in front of the list at `path` (keys from the top), making what is missing.
// Errors: config: the place is written in a way that cannot be edited; says what to write.
Result<std::string> with_first_item(const std::string& file, const std::string& text,
                                    const std::vector<std::string>& path, const std::string& item);

// The same at the end of the list.
Result<std::string> with_last_item(const std::string& file, const std::string& text,
                                   const std::vector<std::string>& path, const std::string& item);

// `item` out of the lists at {section, any key, list}; what only held it goes as well.
// Errors: as above.
Result<std::string> without_item(const std::string& file, const std::string& text, const std::string& section,
                                 const std::string& list, const std::string& item);

// Adds `key: value` (both as YAML) at the top level. Errors: as above; config if the key is there.
Result<std::string> with_top_key(const std::string& file, const std::string& text, const std::string& key,
                                 const std::string& value);

// Puts the block `key:` with `lines` below it (each indented by two blanks, with its line break) at the end,
// or in the place of what stands behind the key. Errors: as above.
Result<std::string> with_top_block(const std::string& file, const std::string& text, const std::string& key,
                                   const std::string& lines);

// Without the first line that is exactly this.
std::string without_top_line(const std::string& text, const std::string& line);

}  // namespace layerd::daemon::setup
