# For tests: the system never says that it is ready
{
  units."never-ready.service" = {
    text = ''
      [Unit]
      Description=What the system waits for in vain

      [Service]
      Type=oneshot
      TimeoutStartSec=infinity
      ExecStart=/bin/sleep infinity
    '';
    wantedBy = [ "multi-user.target" ];
  };
}
