# A dataset with a quota of its own at /workspace
{
  etc."tmpfiles.d/workspace.conf" = ''
    d /workspace 0755 dev users -
  '';
}
