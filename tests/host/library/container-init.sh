#!/bin/bash
# The first process of a container: its end of the network, then the system's own init.

# A stop that comes early ends it: nothing has been started yet.
trap 'exit 0' RTMIN+3

if [[ -n ${HOST_BRIDGE-} ]]; then
    ip link set host0 name eth0
    [[ -z ${LOCAL_MAC_ADDRESS-} ]] || ip link set eth0 address "$LOCAL_MAC_ADDRESS"
    ip link set eth0 up
fi
. "$1"
