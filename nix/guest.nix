# What every container has: an address by DHCP, a user `dev` who may become root, and a fixed state version.
{
  networking.useHostResolvConf = false;
  networking.interfaces.eth0.useDHCP = true;

  users.users.dev = {
    isNormalUser = true;
    uid = 1000;
    extraGroups = [ "wheel" ];
  };
  security.sudo.wheelNeedsPassword = false;

  # Data in /var/lib outlives rebuilds, so this never follows nixpkgs.
  system.stateVersion = "25.11";
}
