# Sourced by the other scripts: installs what is missing from the distribution's packages, and nothing else.
# Debian 12 and 13 and Ubuntu 24.04. Root, or sudo.

layerd_distribution() {
  # shellcheck disable=SC1091
  (. /etc/os-release && echo "${ID}-${VERSION_ID:-}")
}

# llhttp has a package of its own from Debian 13 on; before that node-llhttp brings its C sources.
layerd_llhttp_package() {
  case $(layerd_distribution) in
    debian-12 | ubuntu-2[2345].*) echo node-llhttp ;;
    *) echo libllhttp-dev ;;
  esac
}

# clang's run-time library with libFuzzer carries the version of the distribution's clang.
layerd_clang_runtime_package() {
  case $(layerd_distribution) in
    debian-12) echo libclang-rt-14-dev ;;
    debian-13) echo libclang-rt-19-dev ;;
    ubuntu-24.04) echo libclang-rt-18-dev ;;
  esac
}

# What is missing of the arguments: "package", or "package:program" where the program decides.
layerd_missing() {
  local wanted package program
  for wanted in "$@"; do
    package=${wanted%%:*}
    program=${wanted#*:}
    if [[ $wanted == *:* ]]; then
      command -v "$program" >/dev/null || [[ -x /usr/sbin/$program ]] || echo "$package"
    elif [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) != "install ok installed" ]]; then
      echo "$package"
    fi
  done
}

layerd_as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "These need root, and there is no sudo: $*" >&2
    return 1
  fi
}

layerd_install() {
  local missing
  mapfile -t missing < <(layerd_missing "$@")
  [[ ${#missing[@]} == 0 ]] && return 0
  if ! command -v apt-get >/dev/null; then
    echo "There is no apt-get here; please install what corresponds to: ${missing[*]}" >&2
    return 1
  fi
  echo "Installing ${missing[*]}"
  if [[ -z ${LAYERD_APT_UPDATED:-} ]]; then
    layerd_as_root apt-get update -q
    export LAYERD_APT_UPDATED=1
  fi
  layerd_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
  layerd_quiet_services "${missing[@]}"
}

# Some packages start a service of their own at once. Ours are started by the tests, on free ports.
layerd_quiet_services() {
  [[ -d /run/systemd/system ]] || return 0
  local package
  for package in "$@"; do
    case $package in
      docker-registry) layerd_as_root systemctl disable --now docker-registry.service || true ;;
      nginx-light) layerd_as_root systemctl disable --now nginx.service || true ;;
      tinyproxy) layerd_as_root systemctl disable --now tinyproxy.service || true ;;
    esac
  done
}

layerd_build_packages() {
  layerd_install g++ cmake:cmake ninja-build:ninja pkg-config:pkg-config libuv1-dev "$(layerd_llhttp_package)" \
    libssl-dev liblmdb-dev libc-ares-dev libspdlog-dev libfmt-dev libre2-dev libyaml-cpp-dev libcli11-dev \
    nlohmann-json3-dev ca-certificates
}

layerd_demo_packages() {
  layerd_install docker-registry:docker-registry containerd:containerd curl:curl
}

layerd_test_packages() {
  layerd_install catch2 ccache:ccache docker-registry:docker-registry containerd:containerd skopeo:skopeo \
    nginx-light:nginx tinyproxy:tinyproxy apache2-utils:htpasswd iproute2:ip openssl:openssl curl:curl jq:jq python3:python3 \
    systemd:systemd-analyze procps:ps clang:clang "$(layerd_clang_runtime_package)"
  # The layout is checked where the version that decides it is to be had.
  case $(layerd_distribution) in
    debian-12 | ubuntu-24.04) layerd_install clang-format-14:clang-format-14 ;;
  esac
}
