# For tests: the system takes three seconds to be ready
{
  units."slow-boot.service" = {
    text = ''
      [Unit]
      Description=What takes its time

      [Service]
      Type=oneshot
      ExecStart=/bin/sleep 3
    '';
    wantedBy = [ "multi-user.target" ];
  };
}
