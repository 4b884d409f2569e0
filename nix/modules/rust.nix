# Rust: cargo, clippy, rustfmt and rust-analyzer
{ pkgs, ... }:
{
  environment.systemPackages = with pkgs; [
    cargo
    clippy
    gcc
    rust-analyzer
    rustc
    rustfmt
  ];
}
