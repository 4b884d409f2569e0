# A PostgreSQL server, with `dev` as superuser over the local socket
{
  programs = [ "psql" ];
  units."postgresql.service" = {
    text = ''
      [Unit]
      Description=PostgreSQL Server

      [Service]
      StateDirectory=postgresql
      ExecStart=/bin/sleep infinity
    '';
    wantedBy = [ "multi-user.target" ];
  };
}
