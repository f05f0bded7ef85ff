#include "daemon/cli.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "daemon/admin_access.h"
#include "daemon/cache_commands.h"
#include "daemon/check_command.h"
#include "daemon/config_command.h"
#include "daemon/join_command.h"
#include "daemon/opener_command.h"
#include "daemon/peers_command.h"
#include "daemon/peers_secret_command.h"
#include "daemon/serve.h"
#include "daemon/setup_command.h"
#include "daemon/status_command.h"
#include "daemon/version.h"

namespace layerd::daemon {
namespace {

// What the options write into, and the command that was chosen.
struct Choice {
  std::string config = kDefaultConfig;
  bool config_given = false;
  bool check = false, json = false, blobs = false, markdown = false;
  StatusOptions status;
  CheckOptions checked;
  SetupOptions setup;
  InviteOptions invite;
  JoinOptions join;
  std::string out;
  std::vector<std::string> names;
  std::function<int()> run;
};

int with_access(const Choice& choice, const std::function<int(AdminAccess&)>& command) {
  auto settings = settings_for_command(choice.config, choice.config_given);
  if (!settings) return 2;
  auto access = open_admin_access(**settings);
  if (!access) {
    fmt::print(stderr, "layerd: {}\n", access.error().message);
    return 1;
  }
  return command(**access);
}

void add_cache_commands(CLI::App& app, Choice& choice) {
  auto* cache =
      app.add_subcommand("cache", "the store: list, remove, pin, clean up, verify")->require_subcommand(1);
  auto* ls = cache->add_subcommand("ls", "images whose tags are kept, or every blob");
  ls->add_flag("--blobs", choice.blobs, "every blob, least recently used first");
  ls->add_flag("--json", choice.json, "for machines");
  ls->callback([&] {
    choice.run = [&] {
      return with_access(choice, [&](auto& access) { return cache_ls(access, choice.blobs, choice.json); });
    };
  });
  auto* rm = cache->add_subcommand("rm", "remove blobs by digest, forget images by name");
  rm->add_option("name", choice.names, "sha256:… or an image name")->required();
  rm->callback([&] {
    choice.run = [&] {
      return with_access(choice, [&](auto& access) { return cache_rm(access, choice.names); });
    };
  });
  for (const bool pinned : {true, false}) {
    auto* pin = cache->add_subcommand(pinned ? "pin" : "unpin",
                                      pinned ? "never evict these blobs" : "let them be evicted again");
    pin->add_option("digest", choice.names, "sha256:…")->required();
    pin->callback([&choice, pinned] {
      choice.run = [&choice, pinned] {
        return with_access(choice, [&](auto& access) { return cache_pin(access, choice.names, pinned); });
      };
    });
  }
  auto* gc = cache->add_subcommand("gc", "evict down to the limits now");
  gc->add_flag("--json", choice.json, "for machines");
  gc->callback([&] {
    choice.run = [&] {
      return with_access(choice, [&](auto& access) { return cache_gc(access, choice.json); });
    };
  });
  auto* verify = cache->add_subcommand("verify", "read blobs back and compare their digests");
  verify->add_option("digest", choice.names, "sha256:…; none: all of them");
  verify->add_flag("--json", choice.json, "for machines");
  verify->callback([&] {
    choice.run = [&] {
      return with_access(choice,
                         [&](auto& access) { return cache_verify(access, choice.names, choice.json); });
    };
  });
}

void add_check_command(CLI::App& app, Choice& choice) {
  auto* check =
      app.add_subcommand("check", "how a name would be pulled, step by step; the cause where it fails");
  check->add_option("name", choice.checked.name, "an image, or a registry for its login")->required();
  check->add_flag("--json", choice.checked.json, "for machines (docs/check.md)");
  check->add_option("--platform", choice.checked.platform, "os/architecture; default: this machine's");
  check
      ->add_option("--root", choice.checked.runtime_root,
                   "where the container runtime's configuration lies, for example /host")
      ->capture_default_str();
  check->callback([&] {
    choice.run = [&] {
      auto settings = settings_for_command(choice.config, choice.config_given);
      return settings ? check_command(*settings, choice.checked) : 2;
    };
  });
}

void add_setup_command(CLI::App& app, Choice& choice) {
  SetupOptions& options = choice.setup;
  auto* setup = app.add_subcommand("setup", "point a container runtime of this node at layerd");
  setup->add_option("runtime", options.runtime, "k3s, rke2, containerd, podman, crio or docker")
      ->required()
      ->check(CLI::IsMember({"k3s", "rke2", "containerd", "podman", "crio", "docker"}));
  auto* dry_run = setup->add_flag("--dry-run", options.dry_run, "only show what would be changed, as a diff");
  auto* undo = setup->add_flag("--undo", options.undo, "give the files back as they were");
  setup->add_flag("--verify", options.verify, "show by test pulls that the runtime asks layerd")
      ->excludes(dry_run)
      ->excludes(undo);
  setup->add_flag("--no-fallback", options.no_fallback, "nobody but layerd is asked, even when it refuses")
      ->excludes(undo);
  setup->add_option("--image", options.images, "an image to try with, instead of those the node has")
      ->allow_extra_args(false);  // one word each, so that the runtime may stand behind it
  setup->add_flag("--keep", options.keep, "what an earlier run could not put back stays as it is now")
      ->excludes(dry_run);
  setup->add_option("--root", options.root, "the folder that stands for / of the node");
  setup->callback(
      [&] { choice.run = [&] { return setup_command(choice.config, choice.config_given, choice.setup); }; });
}

void add_peers_commands(CLI::App& app, Choice& choice) {
  auto* peers = app.add_subcommand("peers", "who shares with this node, and how they are doing")
                    ->require_subcommand(0, 1);
  peers->add_flag("--json", choice.json, "for machines (docs/status.md)");
  peers->callback([&choice, peers] {
    if (!peers->get_subcommands().empty()) return;
    choice.run = [&choice] {
      auto settings = settings_for_command(choice.config, choice.config_given);
      return settings ? peers_command((*settings)->admin_socket, choice.json) : 2;
    };
  });
  auto* invite = peers->add_subcommand("invite", "a file by which a new node becomes a member");
  invite->add_option("-o,--output", choice.invite.output, "the file, made with mode 0600");
  invite->add_option("--expires", choice.invite.expires, "how long `layerd join` takes it")
      ->capture_default_str();
  invite->callback([&choice] {
    choice.run = [&choice] {
      auto settings = settings_for_command(choice.config, choice.config_given);
      return settings ? invite_command(**settings, choice.invite) : 2;
    };
  });
  auto* join = app.add_subcommand("join", "make this node a member, by an invitation");
  join->add_option("file", choice.join.file, "what `layerd peers invite` wrote")->required();
  join->add_flag("--replace", choice.join.replace, "write `peers` anew where another site is configured");
  join->add_option("--listen", choice.join.listen,
                   "where to listen; default: every address, the site's port");
  join->add_option("--zone", choice.join.zone, "this node's part of the site");
  join->add_option("--cert-file", choice.join.cert_file, "this node's certificate, where the site uses them");
  join->add_option("--key-file", choice.join.key_file, "its key");
  join->callback([&choice] { choice.run = [&choice] { return join_command(choice.config, choice.join); }; });
  auto* secret = peers->add_subcommand("secret", "a new secret for the site (peers.secret_file)");
  secret->add_option("-o,--out", choice.out, "a file to make for it, instead of the standard output");
  secret->callback([&] { choice.run = [&] { return peers_secret_command(choice.out); }; });
}

void add_commands(CLI::App& app, Choice& choice) {
  app.add_subcommand("serve", "the daemon")->callback([&] {
    choice.run = [&] { return serve_command(choice.config, choice.config_given); };
  });
  app.add_subcommand("root-helper", "opens for the daemon what only root may read; started by systemd")
      ->callback([&] { choice.run = [&] { return opener_command(choice.config, choice.config_given); }; });
  auto* config = app.add_subcommand("config", "the effective configuration with secrets masked");
  config->add_flag("--check", choice.check, "only say whether it is valid");
  config->add_flag("--markdown", choice.markdown,
                   "every key with type, default and meaning (docs/settings.md)");
  config->callback([&] {
    choice.run = [&] {
      return config_command(choice.config, choice.config_given, choice.check, choice.markdown);
    };
  });
  auto* status = app.add_subcommand("status", "what runs now");
  status->add_flag("--json", choice.status.json, "for machines (docs/status.md)");
  status->add_flag("--watch", choice.status.watch, "again every second");
  status->add_flag("--debug", choice.status.debug, "with everything that waits");
  status->callback([&] {
    choice.run = [&] {
      auto settings = settings_for_command(choice.config, choice.config_given);
      return settings ? status_command((*settings)->admin_socket, choice.status) : 2;
    };
  });
  add_check_command(app, choice);
  add_cache_commands(app, choice);
  add_peers_commands(app, choice);
  add_setup_command(app, choice);
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CLI::App app("layerd makes container images arrive: a mirror for the container runtime of this node.",
               "layerd");
  Choice choice;
  app.require_subcommand(1);
  app.fallthrough();  // --config may stand behind the command as well
  app.set_version_flag("--version", std::string("layerd ") + kVersion);
  auto* config = app.add_option("--config", choice.config, "configuration file")->capture_default_str();
  add_commands(app, choice);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& failure) {
    return app.exit(failure) == 0 ? 0 : 2;  // --help and --version end here as well
  }
  choice.config_given = config->count() > 0;
  return choice.run();
}

}  // namespace layerd::daemon
