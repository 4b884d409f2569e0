# For tests: it cannot be evaluated
{
  etc."broken" = throw "this module was made to fail";
}
