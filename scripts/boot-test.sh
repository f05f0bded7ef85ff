#!/usr/bin/env bash
# Boots a Debian 12 of its own with systemd as process 1, layerd installed as the README says, and looks at what a
# node sees: readiness, kill -9, reload, a typo, a service that cannot start, one that hangs. Needs root, a Debian
# mirror and build/release; not part of scripts/test.sh, since it installs an operating system (some 400 MB).
#   scripts/boot-test.sh [FOLDER]     the folder is made if it is not there, and kept
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh
layerd_install debootstrap systemd-container
root=${1:-$(mktemp -d)/debian}
packages=systemd,systemd-sysv,dbus,curl,procps,libyaml-cpp0.7,libre2-9,libc-ares2,libssl3,liblmdb0,libuv1,libspdlog1.10,libfmt9
[[ -e $root/sbin/init ]] || debootstrap --variant=minbase --include="$packages" bookworm "$root" >/dev/null
cmake --build build/release --target layerd >/dev/null
DESTDIR=$root cmake --install build/release >/dev/null
rm -rf "$root/var/lib/layerd" "$root/etc/layerd" "$root/root/seen"
chroot "$root" sh -c 'systemd-sysusers && systemctl enable layerd.socket layerd.service' >/dev/null 2>&1

cat >"$root/etc/systemd/system/look.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/root/look.sh
StandardOutput=file:/root/seen
StandardError=journal
ExecStopPost=systemctl poweroff
[Install]
WantedBy=multi-user.target
UNIT
cat >"$root/root/look.sh" <<'LOOK'
#!/bin/bash
ask() { curl -s -m 30 -o /dev/null -w '%{http_code} %{time_total}' http://127.0.0.1:5151/v2/; }
pid() { systemctl show layerd.service -P MainPID; }
see() { echo "$1 ${*:2}"; }
# see_all N NAME: the worst of N requests, since nobody may wait for more than 5 s
see_all() { for _ in $(seq "$1"); do ask; echo; sleep 0.3; done | sort -n -k2 | tail -1 | sed "s/^/$2 /"; }
see first "$(ask)"
see user "$(ps -o user= -p "$(pid)")"
see exposure "$(systemd-analyze security layerd.service --no-pager | grep -o 'service: [0-9.]*' | cut -d' ' -f2)"
kill -9 "$(pid)"
see killed "$(ask)"
systemctl reload layerd
see reloaded "$(ask)"
echo 'listne: x' >/etc/layerd/config.yaml
systemctl restart layerd
see typo "$(ask)" "$(layerd status --json | grep -o last_good | head -1)"
rm /etc/layerd/config.yaml
systemctl stop layerd
mv /usr/local/bin/layerd /usr/local/bin/real
printf '#!/bin/sh\nexit 1\n' >/usr/local/bin/layerd
chmod +x /usr/local/bin/layerd
systemctl start layerd.socket
see_all 12 cannot-start
printf '#!/bin/sh\nexec sleep 1000\n' >/usr/local/bin/layerd
systemctl stop layerd-recover
systemctl reset-failed
systemctl start layerd.socket
see_all 8 hangs
mv /usr/local/bin/real /usr/local/bin/layerd
for _ in $(seq 60); do [[ $(ask) == 200* ]] && break; sleep 1; done
see recovered "$(ask)"
LOOK
chmod +x "$root/root/look.sh"
chroot "$root" systemctl enable look.service >/dev/null 2>&1
timeout 300 systemd-nspawn -q -D "$root" -b --register=no --keep-unit --private-network </dev/null >/dev/null 2>&1 || true

cat "$root/root/seen"
awk '
  $1 ~ /^(first|killed|reloaded|typo|recovered)$/ && $2 == 200 && $3 < 5 { good++ }
  $1 == "typo" && $4 != "last_good" { good-- }
  $1 == "user" && $2 == "layerd" { good++ }
  $1 == "exposure" && $2 != "" && $2 <= 2.0 { good++ }
  $1 ~ /^(cannot-start|hangs)$/ && $3 < 5 { good++ }
  END { print good + 0 " of 9 as promised"; exit good != 9 }
' "$root/root/seen"
