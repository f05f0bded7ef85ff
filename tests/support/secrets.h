// What a daemon under test knows and must not tell: the secrets of its configuration and of the files it
// names.
#pragma once

#include <string>
#include <vector>

namespace layerd::test {

// Values of keys like password, token and auth in the file (YAML or JSON), in the files it names by absolute
// paths, and the content of each password_file; in plain, as `auth` and Basic have them, and percent-encoded.
// Left out: what is shorter than six characters or letters
// alone, since messages have such words of their own.
std::vector<std::string> secrets_of(const std::string& config_file);

}  // namespace layerd::test
