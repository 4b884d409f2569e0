# For tests: the system starts to shut down and never ends
{
  units."never-stops.service" = {
    text = ''
      [Unit]
      Description=What a shutdown waits for in vain

      [Service]
      TimeoutStopSec=infinity
      ExecStart=/bin/sleep infinity
      ExecStop=/bin/sleep infinity
    '';
    wantedBy = [ "multi-user.target" ];
  };
}
