# The unit of one container, whole, with the scripts that it runs, as NixOS makes it.
{
  make,
  name,
  tailscale,
  sources,
  timeout,
}:
let
  inherit (make) lines optional;
  host = "/usr/local/lib/testhost/bin";
  product = "/opt/voxnix/app/nix";

  # In the store like on NixOS, and so kept with the container: only what is the host's own is looked up there.
  job =
    stage: text:
    let
      file = "container_${name}-${stage}";
    in
    "${make.script "unit-script-${file}" "bin/${file}" text}/bin/${file}";

  init = make.script "container-init" "init" (builtins.readFile ./container-init.sh);
  capability = optional tailscale "--capability=CAP_NET_ADMIN";
  start = job "start" ''
    #!/bin/bash
    containerInit=${init}/init
    declared=(${toString capability})
    ${builtins.readFile "${host}/container_-start"}
  '';
  preStart = job "pre-start" ''
    #!/bin/bash -e
    ${builtins.readFile "${product}/guard.sh"}
    ${builtins.readFile "${host}/container_-pre-start"}
  '';
in
make.file "unit-container-${name}.service" "container@${name}.service" (lines (
  [
    "[Unit]"
    "Description=Container '%i'"
    "RequiresMountsFor=/var/lib/nixos-containers/%i"
  ]
  ++ map (source: "RequiresMountsFor=${source}") sources
  ++ [
    ""
    "[Service]"
    "Environment=\"INSTANCE=%i\""
    "Environment=\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\""
    "Environment=\"root=/var/lib/nixos-containers/%i\""
    "X-RestartIfChanged=false"
    "Delegate=true"
    "DevicePolicy=closed"
  ]
  ++ optional tailscale "DeviceAllow=/dev/net/tun rwm"
  ++ [
    "EnvironmentFile=-/etc/nixos-containers/%i.conf"
    "ExecStartPre=${preStart}"
    "ExecStart=${start}"
    "KillMode=mixed"
    "KillSignal=TERM"
    "Restart=on-failure"
    "RestartForceExitStatus=133"
    "Slice=machine.slice"
    "SuccessExitStatus=133"
    "SyslogIdentifier=container %i"
    "TimeoutStartSec=${timeout}"
    "Type=notify"
  ]
))
