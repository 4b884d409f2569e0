# Python 3 with uv; wheels with binaries run too
{
  programs = [
    "python3"
    "uv"
  ];
}
