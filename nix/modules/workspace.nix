# A dataset with a quota of its own at /workspace
{
  systemd.tmpfiles.rules = [ "d /workspace 0755 dev users -" ];
}
