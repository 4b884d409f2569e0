# For tests: the system ends as soon as it starts
{
  init = ''
    echo "this system was made to end at once"
    exit 1
  '';
}
