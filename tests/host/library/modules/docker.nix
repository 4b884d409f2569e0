# The docker command, with rootless Podman behind it
{
  programs = [
    "docker"
    "podman"
  ];
}
