# A device of its own on the tailnet; voxnix enrols it once it runs
{
  programs = [ "tailscale" ];

  # A daemon that no control plane answers: it never gets beyond asking for a login.
  scripts.tailscale = ''
    #!/bin/bash
    case ''${1-} in
    status)
        echo '{"Version":"1.102.5","BackendState":"NeedsLogin","AuthURL":"","Self":{"ID":"","PublicKey":"nodekey:0000000000000000000000000000000000000000000000000000000000000000","HostName":"'"$HOSTNAME"'","DNSName":"","TailscaleIPs":null,"Online":false}}'
        ;;
    up)
        echo 'timeout waiting for Tailscale service to enter a Running state; check health with "tailscale status"' >&2
        exit 1
        ;;
    logout | set) ;;
    version) echo 1.102.5 ;;
    *)
        echo "tailscale: unknown subcommand: ''${1-}" >&2
        exit 1
        ;;
    esac
  '';
}
