"""A whole machine in QEMU: a real kernel with OpenZFS, for what no container host can show."""
