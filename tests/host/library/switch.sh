#!/bin/bash
# Puts this system in the place of the one that runs: `test`, as voxnix' updates would use it.
system=${BASH_SOURCE[0]%/bin/*}
[[ ${1-} == test || ${1-} == switch ]] || exit 1
echo "activating the configuration..."
echo "setting up /etc..."
"$system/activate"
systemctl daemon-reload
systemd-tmpfiles --create --exclude-prefix=/dev
systemctl --no-block start default.target
