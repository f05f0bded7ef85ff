// The runtimes that setup knows, each with its files, its images and its way to pull.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/setup/plan.h"
#include "daemon/setup/programs.h"

namespace layerd::daemon::setup {

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual std::string name() const = 0;
  // Traces of it on this node. Empty: there are none.
  virtual std::string found(FileSource& files) const = 0;
  // Errors: config (runtime's files that setup cannot or must not change).
  virtual Result<Plan> plan(FileSource& files, const Input& input) const = 0;
  // Names of images it has, with tag or digest. Errors: of the program that was asked.
  virtual Result<std::vector<std::string>> images(FileSource& files, Programs& programs) const = 0;
  // Pulls (a part of) the image as the runtime would, without changing what it holds where that is
  // possible. Errors: not_found (no program for it here); what it said.
  virtual Result<Ok> test_pull(FileSource& files, Programs& programs, const std::string& image) const = 0;
  // The file without what setup added; nothing: it goes.
  virtual Result<std::optional<std::string>> without_layerd(const std::string& path, const std::string& text,
                                                            const std::string& url) const = 0;
};

// Null for a name that is none of runtime_names().
std::unique_ptr<Runtime> make_runtime(const std::string& name);
const std::vector<std::string>& runtime_names();

// Image names out of lines as `ctr images ls -q` prints them; "sha256:…" and <none> left out.
std::vector<std::string> image_names(const std::string& lines);

}  // namespace layerd::daemon::setup
