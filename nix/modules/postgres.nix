# A PostgreSQL server, with `dev` as superuser over the local socket
{
  services.postgresql = {
    enable = true;
    ensureDatabases = [ "dev" ];
    ensureUsers = [
      {
        name = "dev";
        ensureDBOwnership = true;
        ensureClauses.superuser = true;
      }
    ];
  };
}
