# A device of its own on the tailnet; voxnix enrols it once it runs
{
  # No authKeyFile, so nothing waits for the network as the container starts, and no key is on a command line.
  services.tailscale.enable = true;
  services.tailscale.openFirewall = true;
}
