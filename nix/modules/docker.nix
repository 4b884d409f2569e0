# The docker command, with rootless Podman behind it
{
  virtualisation.podman = {
    enable = true;
    dockerCompat = true;
  };
}
