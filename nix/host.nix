# What an appliance needs below voxnix: containers that can be installed at run time, and the bridge that they are on.
{ pkgs, ... }:
{
  boot.enableContainers = true;
  boot.extraSystemdUnitPaths = [ "/etc/systemd-mutable/system" ];
  environment.systemPackages = [
    pkgs.extra-container
    pkgs.nixos-container
  ];

  networking.bridges.br-vox.interfaces = [ ];
  networking.interfaces.br-vox.ipv4.addresses = [
    {
      address = "10.100.0.1";
      prefixLength = 16;
    }
  ];
  networking.nat = {
    enable = true;
    internalInterfaces = [ "br-vox" ];
  };
  networking.firewall.interfaces.br-vox = {
    allowedTCPPorts = [ 53 ];
    allowedUDPPorts = [
      53
      67
    ];
  };
  services.dnsmasq = {
    enable = true;
    resolveLocalQueries = false;
    settings = {
      interface = "br-vox";
      bind-dynamic = true;
      dhcp-range = "10.100.1.0,10.100.254.255,12h";
    };
  };
}
