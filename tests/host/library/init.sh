#!/bin/bash
# The second stage: the system takes its place in the root tree, and systemd becomes the first process.
system=${BASH_SOURCE[0]%/*}
ln -sfn "$system" /run/booted-system
"$system/activate"
exec /usr/lib/systemd/systemd
