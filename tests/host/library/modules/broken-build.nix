# For tests: its build fails
{ make }:
{
  needs = [ (make.derive "broken-build" { } "echo 'this build was made to fail' >&2; exit 1") ];
}
