# Rust: cargo, clippy, rustfmt and rust-analyzer
{
  programs = [
    "cargo"
    "rust-analyzer"
    "rustc"
    "rustfmt"
  ];
}
