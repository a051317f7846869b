// The one doctest main of the suite. Failures of checks that enumerate the registry are counted by
// tests/autograd/suite.h; everything else is an ordinary TEST_CASE.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
